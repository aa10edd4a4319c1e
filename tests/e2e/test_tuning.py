"""The settings of the control plane change no answer: with `tuning: stock`, claims get the same devices.

Where several nodes are as good for a pod, the scheduler takes any of them. So each stack comes up twice with the
settings, and is compared with what it is without them if both times had one answer.
"""

import os
import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.project import SCENARIOS, STACKS, Project

COMPARED = sorted({*STACKS, *SCENARIOS}) if os.environ.get("TUNING") == "all" else ["dev"]
"""All of them take half an hour: they are a part of `make soak`."""
GENERATED = re.compile(r"(-[a-f0-9]{8,10})?-[bcdfghjklmnpqrstvwxz2456789]{5}$")
"""What controllers add to the name of a Deployment or Job to name a pod."""


def answer(project: Project, stack: str, tuning: str) -> list[Any]:
    """Bring a stack up from nothing, and return which claims have which devices on which nodes."""
    with project.configuration(stack) as config:
        config.setdefault("cluster", {})["tuning"] = tuning
    project.up()
    claims = project.outputs()["claims"]
    project.destroy()
    return sorted(
        [
            claim["workload"],
            GENERATED.sub("", claim["pod"]),
            claim["state"],
            claim["node"],
            sorted((device["pool"], device["device"]) for device in claim["devices"]),
        ]
        for claim in claims
    )


@pytest.mark.parametrize("stack", COMPARED)
def test_the_same_allocations(new_project: Callable[[str], Project], stack: str) -> None:
    project = new_project(stack)
    first, second, stock = (answer(project, stack, tuning) for tuning in ("fleet", "fleet", "stock"))
    determined = first == second
    print(f"{stack}: {len(first)} claims, {'determined' if determined else 'not determined'}, stock {first == stock}")
    assert first
    assert stock == first or not determined
