"""The page's own commands in a cluster of their own: what the dev stack is compared with."""

import os
import subprocess
from pathlib import Path

from cluster.local.kwokctl import one_at_a_time
from tests import seed_page
from tests.e2e.project import BY_HAND, PATIENCE_SECONDS, TOOLS
from topology.schema.stack import DEFAULT_KUBERNETES_VERSION

KUBERNETES = f"v{DEFAULT_KUBERNETES_VERSION}"


class Page:
    """The cluster that somebody gets who types the page's commands with the same programs."""

    def __init__(self, folder: Path) -> None:
        programs = TOOLS / "kubernetes" / KUBERNETES
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.environment = {
            "PATH": f"{TOOLS / 'bin'}:{os.environ['PATH']}",
            "HOME": str(folder),
            "KUBECONFIG": str(folder / "kubeconfig"),
            "KWOK_WORKDIR": str(folder / "kwok"),
            "KWOK_RUNTIME": "binary",
            "KWOK_KUBE_VERSION": KUBERNETES,
            "KWOK_KUBE_BINARY_PREFIX": str(programs),
            "KWOK_ETCD_BINARY": str(programs / "etcd"),
            "KWOK_CONTROLLER_BINARY": str(TOOLS / "bin" / "kwok"),
        }

    def create(self) -> None:
        """Run the page's commands and wait until its pod runs, while no other cluster is made by hand."""
        with one_at_a_time(BY_HAND):
            for block in seed_page.shell_blocks():
                if "kubectl get" not in block:
                    self._run("bash", "-c", block)
            self._run("kubectl", "rollout", "status", "deployment/fake-pod", "--timeout", f"{PATIENCE_SECONDS}s")

    def delete(self) -> None:
        """Delete the cluster; it is fine if there is none."""
        self._run("kwokctl", "delete", "cluster")

    def _run(self, *command: str) -> None:
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True)
        if done.returncode:
            logs = (self.folder / "kwok" / "clusters" / "kwok" / "logs").glob("*.log")
            ends = [f"{log.name}: {log.read_text()[-1000:]}" for log in logs]
            raise AssertionError("\n".join([f"{command} failed:", done.stdout, done.stderr, *ends]))
