"""What a stack's schedulers and controllers run as: the input of `commands/added_program.py`."""

from pathlib import Path
from typing import Any

from topology.kubernetes.naming import natural_key
from topology.kubernetes.objects import DEFAULT_SCHEDULER
from topology.objects import kueue
from topology.objects.tuning import KUBE_SCHEDULER, STOCK
from topology.schema.programs import Controller, Scheduler, located
from topology.schema.stack import Topology

_UNLIMITED = {"qps": 5000, "burst": 10000}
"""As kwokctl sets them with `disableQPSLimits`; a configuration file replaces these flags.
https://github.com/kubernetes-sigs/kwok/blob/v0.8.0/pkg/consts/consts.go
"""


def wanted(topology: Topology, folder: Path, tools: Path) -> list[dict[str, Any]]:
    """Return all programs of a stack, the schedulers first; none in an existing cluster.

    The user's programs are in `folder`, ready-made ones in `tools`; `missing_programs` tells which are not there.
    """
    programs = {} if topology.cluster.existing else topology.programs
    return [
        {
            "name": KUBE_SCHEDULER if program.name == DEFAULT_SCHEDULER else program.name,
            "key": f"kwok-dra:{path}",
            **_process(topology, program, folder, tools),
        }
        for path, program in programs.items()
    ]


def built_kueue(tools: Path) -> Path | None:
    """Return the folder of the newest version of Kueue that is built in `tools`; None if there is none."""
    built = sorted(tools.glob("kueue/v*/kueue"), key=lambda path: natural_key(str(path)))
    return built[-1].parent if built else None


def _process(topology: Topology, program: Scheduler | Controller, folder: Path, tools: Path) -> dict[str, Any]:
    if program.binary:
        return _own(program, folder)
    if isinstance(program, Scheduler):
        return _kube_scheduler(program, topology.cluster.tuning)
    ready_made = kueue.controller(topology, program, built_kueue(tools) or tools)
    return _own(ready_made, folder) | {"certificate_secret": kueue.CERTIFICATE_SECRET}


def _own(program: Scheduler | Controller, folder: Path) -> dict[str, Any]:
    return {
        "binary": located(program.binary or "", folder),
        "args": program.args,
        "env": program.env,
        "files": program.files,
        "objects": program.objects if isinstance(program, Controller) else [],
        "ready": (program.ready or "") if isinstance(program, Controller) else "",
    }


def _kube_scheduler(scheduler: Scheduler, tuning: str) -> dict[str, Any]:
    limits = {} if tuning == STOCK else _UNLIMITED
    config = {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        **scheduler.config,
        "clientConnection": limits | (scheduler.config.get("clientConnection") or {}) | {"kubeconfig": "{kubeconfig}"},
        "leaderElection": (scheduler.config.get("leaderElection") or {}) | {"leaderElect": False},
        "profiles": scheduler.profiles,
    }
    is_stock = scheduler.name == DEFAULT_SCHEDULER
    return {
        "binary": "",
        "args": ["--config={folder}/config.yaml", *([] if is_stock else ["--secure-port={port}"])],
        "env": {},
        "files": {"config.yaml": config},
        "objects": [],
        "ready": "" if is_stock else "https://127.0.0.1:{port}/readyz",
    }
