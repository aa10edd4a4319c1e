"""A cluster that is not the product's: started by hand, with real nodes and pods, and KWOK as a process of its own."""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from cluster.local.kwokctl import one_at_a_time
from tests.e2e.page import KUBERNETES
from tests.e2e.project import BY_HAND, PATIENCE_SECONDS, TOOLS, kill, processes_of, wait_until

Object = dict[str, Any]

CONFIGURATION = {
    "apiVersion": "config.kwok.x-k8s.io/v1alpha1",
    "kind": "KwokctlConfiguration",
    "options": {
        "runtime": "binary",
        "kubeVersion": KUBERNETES,
        "bindAddress": "127.0.0.1",
        "disable": ["kwok-controller"],
    },
    # Nobody is there to say every now and then that the real nodes are alive.
    "componentsPatches": [
        {"name": "kube-controller-manager", "extraArgs": [{"key": "node-monitor-grace-period", "value": "1h"}]}
    ],
}
EXEC = """#!/bin/sh
cat <<END
{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": "$(cat "$TOKEN_FILE")"}}
END
"""


class RealCluster:
    """Everything of it is below one folder. Its kubeconfig has other contexts, one of which is the current one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kubeconfig = folder / "user.yaml"
        self.admin = folder / "kwok" / "clusters" / "real" / "kubeconfig.yaml"
        binaries = TOOLS / "kubernetes" / KUBERNETES
        self.environment = {
            **os.environ,
            "PATH": f"{TOOLS / 'bin'}:{os.environ['PATH']}",
            "HOME": str(folder),
            "KWOK_WORKDIR": str(folder / "kwok"),
            "KWOK_KUBE_BINARY_PREFIX": str(binaries),
            "KWOK_ETCD_BINARY": str(binaries / "etcd"),
            "KWOK_CONTROLLER_BINARY": str(TOOLS / "bin" / "kwok"),
            "KUBECONFIG": str(self.admin),
        }

    def start(self) -> None:
        """Start the control plane; the user's kubeconfig reaches it with a token that a program gives."""
        self.folder.mkdir(parents=True)
        document = self.folder / "kwokctl.yaml"
        document.write_text(yaml.safe_dump(CONFIGURATION))
        create = ("kwokctl", "--name", "real", "--config", str(document), "create", "cluster")
        with one_at_a_time(BY_HAND):
            self.run(*create, "--kubeconfig", str(self.folder / "shared.yaml"), "--wait", f"{PATIENCE_SECONDS}s")
        self.kubectl("wait", "--for", "create", "serviceaccount/default", "--timeout", f"{PATIENCE_SECONDS}s")
        self.kubectl("create", "serviceaccount", "fleet-owner", "--namespace", "kube-system")
        self.kubectl(
            *("create", "clusterrolebinding", "fleet-owner", "--clusterrole", "cluster-admin"),
            *("--serviceaccount", "kube-system:fleet-owner"),
        )
        token = self.folder / "token"
        token.write_text(self.kubectl("create", "token", "fleet-owner", "--namespace", "kube-system"))
        program = self.folder / "give-token"
        program.write_text(EXEC)
        program.chmod(0o755)
        self.write_kubeconfig(token)

    def write_kubeconfig(self, token: Path) -> None:
        """Write the user's kubeconfig: the cluster is `real`, and `elsewhere` is where nothing may go."""
        viewed = yaml.safe_load(self.kubectl("config", "view", "--raw", "--flatten"))
        plugin = {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": "./give-token",
            "env": [{"name": "TOKEN_FILE", "value": str(token)}],
            "interactiveMode": "Never",
        }
        found = viewed["clusters"][0]["cluster"]
        contexts = {"elsewhere": ("elsewhere", "elsewhere"), "real": ("real", "owner")}
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "elsewhere",
            "contexts": [
                {"name": name, "context": {"cluster": cluster, "user": user}}
                for name, (cluster, user) in contexts.items()
            ],
            "clusters": [
                {"name": "elsewhere", "cluster": found | {"server": "https://127.0.0.1:1"}},
                {"name": "real", "cluster": found},
            ],
            "users": [{"name": "elsewhere", "user": {"token": "none"}}, {"name": "owner", "user": {"exec": plugin}}],
        }
        self.kubeconfig.write_text(yaml.safe_dump(content))

    def start_kwok(self) -> None:
        """Start KWOK with the stages that kwokctl has, for the nodes that KWOK's chart has it manage."""
        documents = yaml.safe_load_all((self.admin.parent / "kwok.yaml").read_text())
        stages = [entry for entry in documents if entry["kind"] == "Stage"]
        file = self.folder / "stages.yaml"
        file.write_text(yaml.safe_dump_all(stages))
        with open(self.folder / "kwok.log", "w") as log:
            subprocess.Popen(
                [
                    *(str(TOOLS / "bin" / "kwok"), "--config", str(file), "--kubeconfig", str(self.admin)),
                    *("--manage-nodes-with-annotation-selector", "kwok.x-k8s.io/node=fake", "--node-ip", "10.0.0.1"),
                ],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    # What is in it.

    def run(self, *command: str, text: str | None = None) -> str:
        """Run a command, which has to succeed, and return what it printed."""
        done = subprocess.run(command, env=self.environment, input=text or "", capture_output=True, text=True)
        assert done.returncode == 0, f"{' '.join(command)} exited with {done.returncode}:\n{done.stdout}{done.stderr}"
        return done.stdout

    def kubectl(self, *arguments: str, text: str | None = None) -> str:
        """Run kubectl as the cluster's administrator."""
        return self.run("kubectl", *arguments, text=text)

    def apply(self, objects: Sequence[Mapping[str, Any]]) -> None:
        """Create objects."""
        self.kubectl(
            "create", "--filename", "-", text=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        )

    def get(self, kind: str, *arguments: str) -> list[Object]:
        """Return the objects of a kind, of all namespaces."""
        said = self.kubectl("get", kind, "--all-namespaces", "--output", "json", *arguments)
        items: list[Object] = json.loads(said)["items"]
        return items

    def set_status(self, kind: str, name: str, status: Mapping[str, Any]) -> None:
        """Set a status, as a kubelet does."""
        patch = json.dumps({"status": status})
        self.kubectl("patch", kind, name, "--subresource", "status", "--type", "merge", "--patch", patch)

    def close(self) -> None:
        """End every process and remove every file, whatever state a failed test left them in."""
        if self.admin.parent.exists():
            subprocess.run(
                ["kwokctl", "--name", "real", "delete", "cluster", "--kubeconfig", str(self.folder / "shared.yaml")],
                env=self.environment,
                capture_output=True,
            )
        for pid in processes_of(self.folder):
            kill(pid)
        wait_until(lambda: not processes_of(self.folder))
        shutil.rmtree(self.folder, ignore_errors=True)
