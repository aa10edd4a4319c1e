"""What there is right now: a stack's configuration and the live objects of its cluster."""

import json
import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from cluster.api import snapshot
from cluster.api.api_server import ApiServer
from cluster.fleet import existing_cluster
from cluster.local import paths
from topology.checks.validation import ConfigurationError, load
from topology.kubernetes.objects import Object
from topology.schema.settings import emptied, raw_configuration
from topology.schema.stack import Reached, Topology
from topology.status.report import kinds


class NothingToShowError(Exception):
    """Why there is nothing to show, and what to do, in one message."""


class Live(NamedTuple):
    """A stack as it is configured, and the objects in its cluster that say how it stands."""

    topology: Topology
    objects: Sequence[Object]


def read(stack: str, also: Callable[[Topology], Sequence[str]] = lambda _: ()) -> Live:
    """Read the configuration of `stack` in the project of the working directory, and what is in its cluster.

    What there is besides what a report is made of is read of the kinds that `also` names.

    Raises:
        NothingToShowError: the stack is not up, its configuration is not valid, or its cluster does not answer.
    """
    topology = _topology(stack)
    wanted = [*kinds(topology), *also(topology)]
    if isinstance(topology.cluster.existing, Reached):
        api = ApiServer(content=topology.cluster.existing.content)
        return Live(topology, _objects(api, wanted, f"context {topology.cluster.existing.context} does not answer"))
    # Not by the stack's outputs: after an update that failed, when one wants to see why, Pulumi has none.
    kubeconfig = paths.kubeconfig(paths.workdir(), topology.cluster.name)
    if not kubeconfig.exists():
        raise NothingToShowError(_not_up(stack))
    return Live(topology, _objects(ApiServer(kubeconfig), wanted, _no_answer(topology.cluster.name)))


def _topology(stack: str) -> Topology:
    if message := emptied(Path(f"Pulumi.{stack}.yaml")):
        raise NothingToShowError(message)
    settings = {name: entry["value"] for name, entry in _pulumi(stack, "config", "--json", "--show-secrets").items()}
    project = yaml.safe_load(Path("Pulumi.yaml").read_text())["name"]
    try:
        return load(raw_configuration(settings, project, stack), look=existing_cluster.reach)
    except ConfigurationError as error:
        raise NothingToShowError(str(error)) from None


def _pulumi(stack: str, *arguments: str) -> Any:
    done = _run(["pulumi", *arguments, "--stack", stack, "--non-interactive"])
    if done.returncode == 0:
        return json.loads(done.stdout)
    said = done.stderr.strip()
    raise NothingToShowError(_not_up(stack) if "no stack named" in said else said.removeprefix("error: "))


def _objects(api: ApiServer, wanted: Sequence[str], no_answer: str) -> Sequence[Object]:
    objects = snapshot.read(api, wanted)
    if objects is None:
        raise NothingToShowError(no_answer)
    return objects


def _no_answer(cluster: str) -> str:
    return (
        f"cluster {cluster} does not answer; after a restart of the machine its processes are gone. Run "
        "`pulumi up`, which starts them again"
    )


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, env=os.environ, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    except FileNotFoundError:
        raise NothingToShowError(f"{command[0]} not found on PATH: `source toolchain/activate` first") from None


def _not_up(stack: str) -> str:
    return f"stack {stack} is not up; `make up STACK={stack}` brings it up"
