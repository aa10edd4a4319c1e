"""An existing cluster in memory, and a kubeconfig for it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from cluster.api.api_server import Answer
from tests.unit.fake_api_server import FakeApiServer, Object

SERVED = ("apps/v1", "batch/v1", "resource.k8s.io/v1")
UID = "8d8a9bf0-4b2f-4c5e-9a37-2f0d7b1e5c11"


class Cluster(FakeApiServer):
    """A cluster with the namespace kube-system; without `metrics` it refuses to show its feature gates."""

    def __init__(self, version: str = "v1.37.2", metrics: str | None = "", served: tuple[str, ...] = SERVED) -> None:
        groups: dict[str, list[dict[str, str]]] = {}
        for entry in served:
            groups.setdefault(entry.partition("/")[0], []).append({"groupVersion": entry})
        super().__init__(
            {
                "/version": {"gitVersion": version},
                "/apis": {"groups": [{"versions": versions} for versions in groups.values()]},
                "/api/v1/namespaces/kube-system": {"metadata": {"name": "kube-system", "uid": UID}},
                "/api/v1": {"resources": [{"name": "configmaps", "kind": "ConfigMap", "namespaced": True}]},
            }
        )
        self.metrics = metrics

    def send(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, content_type: str = "application/json"
    ) -> Answer:
        """Answer as an API server does; `/metrics` is not JSON."""
        if path != "/metrics":
            return super().send(method, path, body, content_type)
        if self.metrics is None:
            return Answer(403, b'{"message": "forbidden"}')
        return Answer(200, self.metrics.encode())

    def has(self, path: str, spec: Object | None = None, labels: Mapping[str, str] | None = None) -> None:
        """Add an object that somebody created."""
        namespace = path.split("/")[-3] if "/namespaces/" in path and "/namespaces/" in path.rpartition("/")[0] else ""
        metadata = {"name": path.rpartition("/")[2], "labels": dict(labels or {})}
        metadata |= {"namespace": namespace} if namespace else {}
        self.objects[path] = {"metadata": metadata, "spec": spec or {}}


def kubeconfig(folder: Path) -> Path:
    """Write the user's kubeconfig; its context `lab` is the cluster."""
    names = ("lab", "prod")
    content = {
        "current-context": "prod",
        "contexts": [{"name": name, "context": {"cluster": name, "user": "me"}} for name in names],
        "clusters": [{"name": name, "cluster": {"server": f"https://{name}.example.com"}} for name in names],
        "users": [{"name": "me", "user": {"token": "secret"}}],
    }
    file = folder / "user.yaml"
    file.write_text(yaml.safe_dump(content))
    return file


def metrics(**gates: int) -> str:
    """Return the metrics of an API server with these feature gates."""
    return "".join(f'kubernetes_feature_enabled{{name="{name}",stage="ALPHA"}} {on}\n' for name, on in gates.items())
