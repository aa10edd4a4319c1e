"""What a stack's schedulers and controllers run as: the input of `commands/added_program.py`."""

from pathlib import Path
from typing import Any

from topology.kubernetes.naming import natural_key
from topology.kubernetes.objects import DEFAULT_SCHEDULER
from topology.objects import kueue
from topology.schema.programs import Controller, Program, Scheduler, located
from topology.schema.stack import Topology

KUBE_SCHEDULER = "kube-scheduler"
"""The cluster's own scheduler, which serves `default-scheduler`; every kube-scheduler of a stack has its arguments."""

CONFIG_FILE = "config.yaml"

_API_VERSION = "kubescheduler.config.k8s.io/v1"
_UNLIMITED = {"qps": 5000, "burst": 10000}
"""As kwokctl sets them with `disableQPSLimits`; a configuration file replaces these flags.
https://github.com/kubernetes-sigs/kwok/blob/v0.8.0/pkg/consts/consts.go
"""


def component(program: Program) -> str:
    """Return the name of the component that the program is."""
    return KUBE_SCHEDULER if program.name == DEFAULT_SCHEDULER else program.name


def wanted_scheduler(scheduler: Scheduler, key: str, folder: Path) -> dict[str, Any]:
    """Return what runs as a scheduler that is configured at `key`."""
    if scheduler.binary:
        return _wanted(scheduler, key, folder)
    client = {**_UNLIMITED, **(scheduler.config.get("clientConnection") or {}), "kubeconfig": "{kubeconfig}"}
    elected = {**(scheduler.config.get("leaderElection") or {}), "leaderElect": False}
    own = {"clientConnection": client, "leaderElection": elected, "profiles": scheduler.profiles}
    config = {"apiVersion": _API_VERSION, "kind": "KubeSchedulerConfiguration", **scheduler.config, **own}
    is_stock = scheduler.name == DEFAULT_SCHEDULER
    return {
        "name": component(scheduler),
        "key": key,
        "binary": "",
        "args": [f"--config={{folder}}/{CONFIG_FILE}", *([] if is_stock else ["--secure-port={port}"])],
        "env": {},
        "files": {CONFIG_FILE: config},
        "objects": [],
        "ready": "" if is_stock else "https://127.0.0.1:{port}/readyz",
    }


def wanted_controller(controller: Controller, key: str, folder: Path) -> dict[str, Any]:
    """Return what runs as a controller that is configured at `key`."""
    own = {"objects": controller.objects, "ready": controller.ready or ""}
    return _wanted(controller, key, folder) | own


def _wanted(program: Program, key: str, folder: Path) -> dict[str, Any]:
    return {
        "name": component(program),
        "key": key,
        "binary": located(program.binary or "", folder),
        "args": program.args,
        "env": program.env,
        "files": program.files,
        "objects": [],
        "ready": "",
    }


def built_kueue(tools: Path) -> Path | None:
    """Return the folder of the newest version of Kueue that is built in `tools`; None if there is none."""
    built = sorted(tools.glob("kueue/v*/kueue"), key=lambda path: natural_key(str(path)))
    return built[-1].parent if built else None


def wanted_kueue(topology: Topology, controller: Controller, key: str, built: Path) -> dict[str, Any]:
    """Return what runs as Kueue, which is `built` in a folder."""
    made = wanted_controller(kueue.controller(topology, controller, built), key, Path())
    return made | {"certificate_secret": kueue.CERTIFICATE_SECRET}


def wanted(topology: Topology, folder: Path, tools: Path) -> list[dict[str, Any]]:
    """Return all programs of a stack, the schedulers first; none in an existing cluster.

    The user's programs are in `folder`, ready-made ones in `tools`; `missing_programs` tells which are not there.
    """
    if topology.cluster.existing:
        return []
    schedulers = [
        wanted_scheduler(entry, f"kwok-dra:schedulers[{index}]", folder)
        for index, entry in enumerate(topology.schedulers)
    ]
    controllers = [
        wanted_controller(entry, f"kwok-dra:controllers[{index}]", folder)
        if entry.binary
        else wanted_kueue(topology, entry, f"kwok-dra:controllers[{index}]", built_kueue(tools) or tools)
        for index, entry in enumerate(topology.controllers)
    ]
    return [*schedulers, *controllers]
