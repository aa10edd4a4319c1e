"""Round trips on real clusters: the twin of a stack's dump has the same objects and the same dump."""

import os
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from tests.e2e.project import SCENARIOS, STACKS, Project

Object = dict[str, Any]
ALL = os.environ.get("TWINS") == "all"
"""Whether to test every stack of the repository, which takes half an hour: see CONTRIBUTING.md."""

ROUND_TRIPS = sorted({*STACKS, *SCENARIOS}) if ALL else ["dev", "mixed", "oversubscribed"]


def dumped(project: Project, stack: str) -> list[Object]:
    """Write the dump of a stack, and return its objects."""
    file = project.folder / f"{stack}.yaml"
    project.run(sys.executable, "-m", "twin", "--stack", stack, "dump", "--file", str(file))
    items: list[Object] = yaml.load(file.read_text(), Loader=yaml.CSafeLoader)["items"]
    return items


def twinned(project: Project, stack: str, *options: str) -> None:
    """Make the stack `twin` from the dump of `stack`, and select it."""
    dump = str(project.folder / f"{stack}.yaml")
    project.run(sys.executable, "-m", "twin", "--stack", "twin", "read", *options, dump)
    project.select("twin")


def of_kinds(items: list[Object], *kinds: str) -> list[Object]:
    return [entry for entry in items if entry["kind"] in kinds]


def allocation_counts(items: list[Object]) -> Counter[tuple[str, ...]]:
    """Count the claims with the same spec and the same drivers of allocated devices."""
    return Counter(
        (
            yaml.safe_dump(claim["spec"]),
            *sorted(
                result["driver"]
                for result in claim.get("status", {}).get("allocation", {}).get("devices", {}).get("results", [])
            ),
        )
        for claim in of_kinds(items, "ResourceClaim")
    )


def without_places(items: list[Object]) -> list[Object]:
    """Remove the nodes and devices that the scheduler has chosen, and the order that depends on them."""
    kept = []
    for entry in items:
        spec = {key: value for key, value in entry.get("spec", {}).items() if key != "nodeName"}
        status = dict(entry.get("status", {}))
        if entry["kind"] == "ResourceClaim" and "allocation" in status:
            status["allocation"] = len(status["allocation"].get("devices", {}).get("results", []))
        kept.append(entry | {"spec": spec, "status": status})
    return sorted(kept, key=yaml.safe_dump)


@pytest.mark.parametrize("stack", ROUND_TRIPS)
def test_round_trip(new_project: Callable[[str], Project], stack: str) -> None:
    project = new_project(stack)
    project.up()
    first = dumped(project, stack)
    project.destroy()
    twinned(project, stack, "--keep-names", "--keep-placement", "none")
    project.up()
    again = dumped(project, "twin")
    project.up("--expect-no-changes")
    project.destroy()
    project.close()
    for kind in ("Node", "ResourceSlice", "DeviceClass", "DeviceTaintRule"):
        assert of_kinds(again, kind) == of_kinds(first, kind)
    assert allocation_counts(again) == allocation_counts(first)
    if stack != "manifests":  # The names of its bare pods, such as pod1, are not those of a workload, pod1-0.
        assert without_places(again) == without_places(first)


def test_what_kubectl_prints(new_project: Callable[[str], Project]) -> None:
    """The dump has all fields that an API server sets, and claims keep their devices."""
    project = new_project("l4")
    project.up()
    kinds = "nodes,resourceslices,deviceclasses,resourceclaims,resourceclaimtemplates,pods"
    (project.folder / "l4.yaml").write_text(project.run("kubectl", "get", kinds, "-A", "-o", "yaml").stdout)
    first = project.get("resourceclaims")
    project.destroy()
    twinned(project, "l4", "--keep-placement", "devices")
    project.up()
    again = project.get("resourceclaims")
    project.destroy()
    assert holders(again) == holders(first)  # Nodes of a twin are named after their GPU model, as here.


def holders(items: list[Object]) -> list[list[str]]:
    """Return the devices of each claim."""
    return sorted(
        sorted(f"{one['pool']}/{one['device']}" for one in results)
        for claim in of_kinds(items, "ResourceClaim")
        for results in [claim["status"]["allocation"]["devices"]["results"]]
    )
