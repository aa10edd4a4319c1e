"""Where kwokctl keeps its clusters and their kubeconfigs."""

import os
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]


def workdir() -> Path:
    """Return kwokctl's folder: KWOK_WORKDIR, or `.state/kwok` of the project."""
    return Path(os.environ.get("KWOK_WORKDIR") or PROJECT / ".state" / "kwok").absolute()


def kubeconfig(folder: Path, cluster: str) -> Path:
    """Return the kubeconfig of one cluster, where kwokctl's folder is `folder`."""
    return folder / "clusters" / cluster / "kubeconfig.yaml"


def shared_kubeconfig(folder: Path) -> Path:
    """Return the kubeconfig with a context for each cluster of `folder`; the user's own is never touched."""
    return folder / "kubeconfig"


def kubectl_environment(folder: Path, kubeconfig: Path) -> dict[str, str]:
    """Return what makes kubectl use `kubeconfig`, and keeps its cache in kwokctl's `folder`, not in the user's home."""
    return {"KUBECONFIG": str(kubeconfig), "KUBECACHEDIR": str(folder / "kubectl-cache")}
