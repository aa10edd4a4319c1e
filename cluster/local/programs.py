"""The programs that a cluster on this machine runs."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

_CONTROL_PLANE = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")


def missing() -> str:
    """Return which of kwokctl and kubectl are not on PATH, and what to do; empty if both are."""
    not_found = [program for program in ("kwokctl", "kubectl") if not shutil.which(program)]
    if not not_found:
        return ""
    return (
        f"{' and '.join(not_found)} not found on PATH. Run `make tools` and then `source toolchain/activate`, or "
        "install KWOK v0.8.0 or newer (https://kwok.sigs.k8s.io/docs/user/installation/) and kubectl"
    )


def built_kubernetes_versions(tools: Path) -> list[str]:
    """Return the Kubernetes releases that the toolchain in `tools` contains."""
    return sorted(entry.name.lstrip("v") for entry in (tools / "kubernetes").glob("v*") if entry.is_dir())


def of_control_plane(version: str) -> dict[str, str]:
    """Return variables that tell kwokctl where the programs of a Kubernetes release are.

    kwokctl uses the built ones (KWOK_DRA_TOOLS), those on PATH, or its own downloads.
    """
    tools = os.environ.get("KWOK_DRA_TOOLS")
    if not tools:
        return _on_path(version)
    folder = Path(tools, "kubernetes", f"v{version}")
    return {
        "KWOK_KUBE_BINARY_PREFIX": str(folder),
        "KWOK_ETCD_BINARY": str(folder / "etcd"),
        "KWOK_CONTROLLER_BINARY": str(Path(tools, "bin", "kwok")),
    }


def _on_path(version: str) -> dict[str, str]:
    found = {program: shutil.which(program) or "" for program in (*_CONTROL_PLANE, "kwok")}
    if not all(found.values()) or _version_of(found["kube-apiserver"]) != version:
        print("kwokctl downloads the control plane; the first download takes a while", file=sys.stderr)
        return {}
    names = {"kwok": "KWOK_CONTROLLER_BINARY"}
    return {names.get(name, f"KWOK_{name.upper().replace('-', '_')}_BINARY"): path for name, path in found.items()}


def _version_of(kube_apiserver: str) -> str:
    output = subprocess.run([kube_apiserver, "--version"], capture_output=True, text=True).stdout
    return output.strip().split(" v")[-1]
