"""Runs kwokctl, one at a time in each folder, and reads kubeconfigs with kubectl."""

import fcntl
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from cluster.local.errors import ClusterError, tail
from cluster.local.paths import kubeconfig, kubectl_environment, open_private, shared_kubeconfig, write_private

POLL_SECONDS = 0.05


@contextmanager
def one_at_a_time(workdir: Path, patience: float = 600) -> Iterator[None]:
    """Lock kwokctl's folder: a kwokctl fails if another one writes the kubeconfig that its clusters share.

    The kernel releases the lock when the process that holds it ends. After `patience` seconds, or if the folder cannot
    be locked, the block runs without the lock.
    """
    deadline = time.monotonic() + patience
    with ExitStack() as until_release:
        with suppress(OSError):
            while not _locked(workdir / "kwok-dra.lock", until_release) and time.monotonic() < deadline:
                time.sleep(POLL_SECONDS)
        yield


def _locked(path: Path, until_release: ExitStack) -> bool:
    """Lock a file, unless another process holds its lock. The release removes the file.

    Another process may have removed the file after this one opened it: only a lock on the file at `path` counts.
    """
    with ExitStack() as attempt:
        file = attempt.enter_context(open(path, "a", opener=open_private))
        with suppress(BlockingIOError, FileNotFoundError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                attempt.callback(path.unlink, missing_ok=True)
                until_release.enter_context(attempt.pop_all())
                return True
    return False


@contextmanager
def run(
    workdir: Path, cluster: str, verb: str, *flags: str, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `kwokctl VERB cluster`, and kill it if it still runs at the end of the block.

    Raises ClusterError with the end of its output if it fails.
    """
    own, shared = kubeconfig(workdir, cluster), shared_kubeconfig(workdir)
    # A killed kwokctl leaves this lock, which keeps every other one from writing the kubeconfig.
    shared.with_name(f"{shared.name}.lock").unlink(missing_ok=True)
    _restore_shared_kubeconfig(workdir, own)
    command = ["kwokctl", "--name", cluster, verb, "cluster", *flags]
    # Variables that the user sets, such as KWOK_KUBE_APISERVER_BINARY, override `environment`.
    variables = {**(environment or {}), **os.environ, "KWOK_WORKDIR": str(workdir), **kubectl_environment(workdir, own)}
    with open(own.with_name("kwokctl.log"), "w+") as log:
        process = subprocess.Popen(command, env=variables, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.kill()
            process.wait()
        if process.returncode:
            log.seek(0)
            raise ClusterError(f"kwokctl could not {verb} cluster {cluster}:\n{tail(log.read())}")


def kubectl(workdir: Path, kubeconfigs: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run kubectl with one kubeconfig, or with several, separated by colons."""
    environment = {**os.environ, **kubectl_environment(workdir, Path(kubeconfigs))}
    return subprocess.run(["kubectl", *arguments], env=environment, capture_output=True, text=True)


def flatten(workdir: Path, kubeconfigs: str) -> subprocess.CompletedProcess[str]:
    """Have kubectl print one kubeconfig that holds all contexts, certificates and keys of the given ones."""
    return kubectl(workdir, kubeconfigs, "config", "view", "--raw", "--flatten")


def _restore_shared_kubeconfig(workdir: Path, own: Path) -> None:
    """Write the shared kubeconfig again if a kwokctl was killed after it had emptied the file."""
    shared = shared_kubeconfig(workdir)
    if shared.exists() and not shared.stat().st_size:
        files = sorted(map(str, workdir.glob("clusters/*/kubeconfig.yaml")))
        write_private(shared, flatten(workdir, ":".join(files) or str(own)).stdout)


def forget_shared_kubeconfig(workdir: Path) -> None:
    """Remove the shared kubeconfig and kubectl's cache if no cluster is left.

    The kubeconfig goes last: as long as it is there, the next removal completes one that was killed.
    """
    shared = shared_kubeconfig(workdir)
    if shared.exists() and "contexts: null" in shared.read_text():
        shutil.rmtree(workdir / "kubectl-cache", ignore_errors=True)
        shared.unlink()
