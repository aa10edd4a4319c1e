"""Reads a running stack: its configuration and the live objects of its cluster."""

import json
import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from cluster.api import snapshot
from cluster.api.api_server import ApiServer, RefusedError
from cluster.fleet import existing_cluster
from cluster.local import paths
from topology.checks.validation import ConfigurationError, load
from topology.kubernetes.objects import Object
from topology.schema.settings import raw_configuration, unusable
from topology.schema.stack import Reached, Topology
from topology.status.report import kinds


class NothingToShowError(Exception):
    """There is nothing to show; the message says why and what to do."""


class RunningStack(NamedTuple):
    """The configuration of a stack, and the objects in its cluster."""

    topology: Topology
    objects: Sequence[Object]


def read(stack: str, also: Callable[[Topology], Sequence[str]] = lambda _: ()) -> RunningStack:
    """Read the configuration of `stack` in the project of the working directory, and the objects in its cluster.

    The objects are those that a report needs, and those of the kinds that `also` returns.

    Raises:
        NothingToShowError: the stack is not up, its configuration is not valid, or its cluster does not answer or
            refuses to list a kind.
    """
    topology = _topology(stack)
    wanted = list(dict.fromkeys((*kinds(topology), *also(topology))))
    existing = topology.cluster.existing
    if isinstance(existing, Reached):
        no_answer = f"context {existing.context} does not answer"
        return RunningStack(topology, _objects(ApiServer(content=existing.content), wanted, no_answer))
    # Not from the stack's outputs: Pulumi has none after a failed update, which is when this is needed most.
    kubeconfig = paths.kubeconfig(paths.workdir(), topology.cluster.name)
    if not kubeconfig.exists():
        raise NothingToShowError(_not_up(stack))
    return RunningStack(topology, _objects(ApiServer(kubeconfig), wanted, _no_answer(topology.cluster.name)))


def _topology(stack: str) -> Topology:
    if message := unusable(stack):
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
    try:
        objects = snapshot.read(api, wanted)
    except RefusedError as error:
        raise NothingToShowError(str(error)) from None
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
