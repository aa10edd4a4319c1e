"""Whether a cluster that starts is ready: what its API server answers, and which components have given up."""

import re
import ssl
import time
from contextlib import closing, suppress
from http import HTTPStatus
from http.client import HTTPException, HTTPSConnection
from pathlib import Path

from cluster.local import processes
from cluster.local.components import Components
from cluster.local.errors import REPLACE, ClusterError, error_lines
from cluster.local.kwokctl import kubectl
from cluster.local.paths import kubeconfig

# These hooks take another second, and nothing here needs them: the group system:masters of every user needs no role,
# and fake pods have no priority class.
NOT_WAITED_FOR = ("rbac/bootstrap-roles", "scheduling/bootstrap-system-priority-classes")
READY = "/readyz?" + "&".join(f"exclude=poststarthook/{hook}" for hook in NOT_WAITED_FOR)
OPENAPI = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
"""What the Kubernetes client of Pulumi's provider accepts."""
MANAGER = "kube-controller-manager"
GAVE_UP = "failed to wait for apiserver being healthy"
"""The error with which kube-controller-manager exits if the API server is not healthy within ten seconds:
https://github.com/kubernetes/kubernetes/blob/v1.37.2/cmd/kube-controller-manager/app/controllermanager.go.
"""
CONTROLS = ' controller="'
"""In the log of kube-controller-manager as soon as it no longer waits."""
YOUNG_SECONDS, OLD_SECONDS = 2, 60
"""A create does not wait for a younger kube-controller-manager: it has most of its ten seconds left, and needs one of
them after an API server that started fast. The log of an older one is different."""


class Readiness:
    """Readiness of a cluster in kwokctl's folder."""

    def __init__(self, workdir: Path, components: Components) -> None:
        """Describe the cluster that has the components."""
        self.workdir = workdir
        self.components = components
        self.name = components.folder.name
        self.kubeconfig = kubeconfig(workdir, self.name)
        self.pki = components.folder / "pki"

    def is_ready(self) -> bool:
        """Ask the API server, without kubectl if possible: its start takes CPU time that the API server needs.

        Raises ClusterError if the API server's certificate cannot be trusted.
        """
        if not self.pki.exists():
            arguments = ("--request-timeout", "5s", "get", "--raw", READY)
            return kubectl(self.workdir, str(self.kubeconfig), *arguments).returncode == 0
        try:
            return self.request("GET", READY) == HTTPStatus.OK
        except ssl.SSLCertVerificationError as error:
            raise ClusterError(
                f"the API server of cluster {self.name} has a certificate that cannot be trusted: "
                f"{error.verify_message}; {REPLACE}"
            ) from None
        except (OSError, HTTPException):
            return False

    @property
    def server(self) -> str:
        """The URL of the API server; empty if the kubeconfig does not say."""
        found = re.search(r"server: (https://.+:[0-9]+)", self.kubeconfig.read_text())
        return found[1] if found else ""

    def request(self, method: str, path: str, accept: str = "*/*") -> int:
        """Send a request to the API server and return the status of the response."""
        context = ssl.create_default_context(cafile=str(self.pki / "ca.crt"))
        context.load_cert_chain(self.pki / "admin.crt", self.pki / "admin.key")
        host, _, port = self.server.removeprefix("https://").rpartition(":")
        with closing(HTTPSConnection(host, int(port or 0), context=context, timeout=5)) as connection:
            connection.request(method, path, headers={"Accept": accept})
            return connection.getresponse().status

    def prepare_openapi(self) -> None:
        """Have the API server build its OpenAPI document early, for which the provider otherwise waits a second."""
        with suppress(OSError, HTTPException):
            self.request("GET", "/openapi/v2", OPENAPI)

    def check_startup(self, advice: str) -> None:
        """Raise ClusterError if a component has exited, unless it only gave up waiting for the API server."""
        for component, pid in self.components.own().items():
            if not processes.running(pid) and not self.gave_up(component):
                raise ClusterError(
                    f"{component} of cluster {self.name} exited while it was starting:\n{self._errors(component)}\n"
                    f"{advice}"
                )

    def gave_up(self, component: str) -> bool:
        """Tell whether a component that has exited gave up waiting for the API server."""
        return GAVE_UP in self._errors(component)

    def _errors(self, component: str) -> str:
        log = self.components.log(component)
        return error_lines(log.read_text() if log.exists() else "")

    def may_give_up(self, youngest: float = 0) -> bool:
        """Tell whether kube-controller-manager, if older than `youngest` seconds, still waits for the API server."""
        pid_file, log = self.components.pid_file(MANAGER), self.components.log(MANAGER)
        if not pid_file.exists() or not log.exists() or MANAGER in self.components.exited():
            return False
        is_late = youngest <= time.time() - pid_file.stat().st_mtime < OLD_SECONDS
        return is_late and CONTROLS not in log.read_text()
