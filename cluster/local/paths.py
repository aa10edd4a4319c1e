"""Where kwokctl keeps its clusters and their kubeconfigs."""

import os
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]


def workdir() -> Path:
    """Return kwokctl's folder: KWOK_WORKDIR, or `.state/kwok` of the project."""
    return Path(os.environ.get("KWOK_WORKDIR") or PROJECT / ".state" / "kwok").absolute()


def kubeconfig(folder: Path, cluster: str) -> Path:
    """Return the kubeconfig of one cluster in kwokctl's `folder`."""
    return folder / "clusters" / cluster / "kubeconfig.yaml"


def shared_kubeconfig(folder: Path) -> Path:
    """Return the kubeconfig with a context for each cluster in kwokctl's `folder`; the user's own stays untouched."""
    return folder / "kubeconfig"


def kubectl_environment(folder: Path, kubeconfig: Path) -> dict[str, str]:
    """Return variables that make kubectl use `kubeconfig`, and a cache in kwokctl's `folder` instead of the home."""
    return {"KUBECONFIG": str(kubeconfig), "KUBECACHEDIR": str(folder / "kubectl-cache")}


def write_private(file: Path, text: str) -> None:
    """Write a file that only its owner can read, in one step: an interrupted write leaves the previous file."""
    new = file.with_suffix(".new")
    with open(new, "w", opener=open_private) as opened:
        opened.write(text)
    new.replace(file)


def open_private(path: str, flags: int) -> int:
    """Open a file, and create it so that only its owner can read it: the `opener` of `open`."""
    return os.open(path, flags, 0o600)
