"""Multi-Instance GPU on the real scheduler: it gives out those mixes of devices that fit on one GPU, and no others.

What fits is told here by a table of its own, of https://docs.nvidia.com/datacenter/tesla/mig-user-guide/
"""

import json
import random
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import combinations, combinations_with_replacement
from typing import Any, NamedTuple

import pytest

from tests.e2e.project import PATIENCE_SECONDS, Project, wait_until

SEED = 1
SIZES = range(2, 8)
"""How many devices random mixes have; with many more that are alike, the scheduler runs into its timeout."""
REASON = "1 cannot allocate all claims"
WHOLE = "whole"
"""Stands for a GPU that is not cut, where otherwise the profile of a device is."""


class Kind(NamedTuple):
    """At which of the eight memory slices of a GPU a device may begin, and how many it takes."""

    placements: Sequence[int]
    size: int


KINDS = {
    "1g": Kind(range(7), 1),
    "1g+me": Kind(range(7), 1),
    "1g, double memory": Kind((0, 2, 4, 6), 2),
    "2g": Kind((0, 2, 4), 2),
    "3g": Kind((0, 4), 4),
    "4g": Kind((0,), 4),
    "7g": Kind((0,), 8),
}
PROFILES = {
    "a100-40gb": ("1g.5gb", "1g.5gb+me", "1g.10gb", "2g.10gb", "3g.20gb", "4g.20gb", "7g.40gb"),
    "a100-80gb": ("1g.10gb", "1g.10gb+me", "1g.20gb", "2g.20gb", "3g.40gb", "4g.40gb", "7g.80gb"),
    "h100": ("1g.10gb", "1g.10gb+me", "1g.20gb", "2g.20gb", "3g.40gb", "4g.40gb", "7g.80gb"),
    "h200": ("1g.18gb", "1g.18gb+me", "1g.35gb", "2g.35gb", "3g.71gb", "4g.71gb", "7g.141gb"),
    "b200": ("1g.23gb", "1g.23gb+me", "1g.45gb", "2g.45gb", "3g.90gb", "4g.90gb", "7g.180gb"),
    "b300": ("1g.34gb", "1g.34gb+me", "1g.67gb", "2g.67gb", "3g.135gb", "4g.135gb", "7g.269gb"),
    "gb200": ("1g.23gb", "1g.23gb+me", "1g.47gb", "2g.47gb", "3g.93gb", "4g.93gb", "7g.186gb"),
    "gh200-96gb": ("1g.12gb", "1g.12gb+me", "1g.24gb", "2g.24gb", "3g.48gb", "4g.48gb", "7g.96gb"),
}
"""What the kinds are called on some models, in order."""
MODELS = list(PROFILES)
OTHERS = {"a30": "1g.6gb", "rtx-pro-6000": "1g.24gb"}
"""Models that are cut into four, with the profile of a fourth."""

Mix = tuple[str, ...]
Given = dict[str, str] | None
"""The device of each request; None where the pod is pending."""


# The oracle.


@cache
def occupations(mix: Mix) -> frozenset[int]:
    """Return every set of memory slices, as bits, that devices of the kinds in `mix` can take on one GPU."""
    if not mix:
        return frozenset({0})
    kind = KINDS[mix[-1]]
    own = [(1 << kind.size) - 1 << placement for placement in kind.placements]
    return frozenset(others | slices for others in occupations(mix[:-1]) for slices in own if not others & slices)


def fits(mix: Iterable[str]) -> bool:
    """Tell whether the kinds fit on one GPU.

    Of its engines only the one for optical flow, which comes with the media extensions, is gone before the slices are.
    """
    mix = tuple(sorted(mix))
    return mix.count("1g+me") <= 1 and bool(occupations(mix))


def nearly_fits(mix: Mix) -> bool:
    """Tell whether the kinds do not fit, but would without one of them."""
    return not fits(mix) and any(fits(rest) for rest in combinations(mix, len(mix) - 1))


def mixes(model: str) -> list[Mix]:
    """Return each kind once and twice, and random mixes of which every other one fits, and the others nearly do."""
    chosen: list[Mix] = [(kind,) * count for count in (1, 2) for kind in KINDS]
    generator = random.Random(f"{SEED} {model}")
    for size in SIZES:
        for condition in (fits, nearly_fits):
            possible = [mix for mix in combinations_with_replacement(KINDS, size) if condition(mix)]
            chosen.append(tuple(generator.sample(generator.choice(possible), size)))
    return chosen


# The cluster.


@pytest.fixture(scope="module")
def fleet(project: Project) -> Project:
    """Create a node for each model, with one GPU."""
    with project.configuration() as config:
        config.clear()
        config["nodePools"] = [
            {"name": model, "gpu": model, "gpusPerNode": 1, "mig": "dynamic"} for model in (*MODELS, *OTHERS)
        ]
        config["workloads"] = []
    project.up()
    return project


@pytest.fixture
def empty(fleet: Project) -> Iterator[Project]:
    """Leave no pods behind, also when the test failed."""
    yield fleet
    delete_all(fleet)


def device_request(name: str, profile: str) -> dict[str, Any]:
    """Render a request for one device."""
    if profile == WHOLE:
        return {"name": name, "exactly": {"deviceClassName": "gpu.nvidia.com"}}
    selector = {"cel": {"expression": f"device.attributes['gpu.nvidia.com'].profile == '{profile}'"}}
    return {"name": name, "exactly": {"deviceClassName": "mig.nvidia.com", "selectors": [selector]}}


def claim(name: str, profiles: Sequence[str]) -> dict[str, Any]:
    """Render a claim with one request per profile, named by place: `r0` and up."""
    requests = [device_request(f"r{place}", profile) for place, profile in enumerate(profiles)]
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaim",
        "metadata": {"name": name},
        "spec": {"devices": {"requests": requests}},
    }


def pod(name: str, model: str, profiles: Sequence[str]) -> dict[str, Any]:
    """Render a pod for the node of `model`, with the claim of the same name; messages show what it is for."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "annotations": {"profiles": " ".join(profiles)}},
        "spec": {
            "nodeSelector": {"kubernetes.io/hostname": f"{model}-0"},
            "containers": [{"name": "main", "image": "none", "resources": {"claims": [{"name": "devices"}]}}],
            "resourceClaims": [{"name": "devices", "resourceClaimName": name}],
        },
    }


def create(fleet: Project, model: str, **wanted: Sequence[str]) -> None:
    """Create pods for the node of `model`, by name, each with a claim for devices of some profiles."""
    create_all(fleet, {name: (model, profiles) for name, profiles in wanted.items()})


def create_all(fleet: Project, wanted: Mapping[str, tuple[str, Sequence[str]]]) -> None:
    """Create pods, by name, with the model and the profiles that each is for."""
    claims = [claim(name, profiles) for name, (_, profiles) in wanted.items()]
    pods = [pod(name, model, profiles) for name, (model, profiles) in wanted.items()]
    file = fleet.folder / "pods.json"
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": claims + pods}))
    fleet.run("kubectl", "create", "--filename", str(file))


def delete_all(fleet: Project) -> None:
    """Delete all pods and claims, and wait until they are gone, for which `kubectl delete` takes a second.

    The scheduler learns of it before it learns of claims that are created later: both come in the same watch.
    """
    fleet.run("kubectl", "delete", "pods,resourceclaims", "--all", "--wait=false")
    wait_until(lambda: not fleet.get("pods,resourceclaims"))


def decision(pod: dict[str, Any]) -> bool | None:
    """Tell whether the scheduler has found devices for a pod; None before, and where it is pending for other reasons.

    An allocator that ran out of time is an error, as it does not know either.
    """
    for condition in pod["status"].get("conditions", []):
        if condition["type"] == "PodScheduled":
            said = condition.get("message", "")
            assert "timed out" not in said, status(pod)
            return condition["status"] == "True" or (False if REASON in said else None)
    return None


def status(pod: dict[str, Any]) -> str:
    """Say which pod this is and what became of it."""
    return f"{pod['metadata']['name']} for {pod['metadata']['annotations']}: {pod['status']}"


def decisions(fleet: Project) -> dict[str, bool]:
    """Wait until the scheduler has decided about every pod, and return what."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        pods = fleet.get("pods")
        decided = {pod["metadata"]["name"]: answer for pod in pods if (answer := decision(pod)) is not None}
        if len(decided) == len(pods):
            return decided
        undecided = [status(pod) for pod in pods if pod["metadata"]["name"] not in decided]
        assert time.monotonic() < deadline, f"the scheduler does not decide: {undecided}"
        time.sleep(0.05)


def devices(fleet: Project) -> dict[str, dict[str, str]]:
    """Return by claim which device each of its requests got."""
    return {
        entry["metadata"]["name"]: {result["request"]: result["device"] for result in allocation["devices"]["results"]}
        for entry in fleet.get("resourceclaims")
        if (allocation := entry.get("status", {}).get("allocation"))
    }


def placement(device: str) -> int:
    """Return the memory slice at which a device begins: the last number of its name."""
    return int(device.rpartition("-")[2])


# What is known of the H100.


def test_seven_of_the_smallest_and_an_eighth(empty: Project) -> None:
    create(empty, "h100", **{f"small-{place}": ["1g.10gb"] for place in range(7)})
    assert set(decisions(empty).values()) == {True}
    given = devices(empty).values()
    assert sorted(placement(device) for results in given for device in results.values()) == list(range(7))
    create(empty, "h100", eighth=["1g.10gb"])
    assert [name for name, allocated in decisions(empty).items() if not allocated] == ["eighth"]
    assert "eighth" not in devices(empty)


def test_two_halves_leave_no_room(empty: Project) -> None:
    create(empty, "h100", halves=["3g.40gb", "3g.40gb", "1g.10gb"])
    assert decisions(empty) == {"halves": False}


def test_four_and_three_sevenths(empty: Project) -> None:
    create(empty, "h100", unequal=["4g.40gb", "3g.40gb"])
    assert decisions(empty) == {"unequal": True}
    assert {name: placement(device) for name, device in devices(empty)["unequal"].items()} == {"r0": 0, "r1": 4}


@pytest.mark.parametrize(("first", "second"), [(WHOLE, "1g.10gb"), ("1g.10gb", WHOLE)])
def test_a_whole_gpu_and_a_slice_of_it(empty: Project, first: str, second: str) -> None:
    create(empty, "h100", first=[first])
    assert decisions(empty) == {"first": True}
    create(empty, "h100", second=[second])
    assert decisions(empty) == {"first": True, "second": False}
    empty.run("kubectl", "delete", "pods,resourceclaims", "first")
    wait_until(lambda: decisions(empty) == {"second": True})


# Of GPUs that are cut otherwise.


@pytest.mark.parametrize("model", OTHERS)
def test_four_of_the_smallest_and_a_fifth(empty: Project, model: str) -> None:
    create(empty, model, **{f"small-{place}": [OTHERS[model]] for place in range(4)})
    assert set(decisions(empty).values()) == {True}
    create(empty, model, fifth=[OTHERS[model]])
    assert [name for name, allocated in decisions(empty).items() if not allocated] == ["fifth"]


# All models with seven slices.


def test_devices(fleet: Project) -> None:
    published = {
        (entry["spec"]["nodeName"], device["attributes"]["profile"]["string"], placement(device["name"]))
        for entry in fleet.get("resourceslices")
        for device in entry["spec"].get("devices", [])
        if device["attributes"]["type"]["string"] == "mig" and entry["spec"]["nodeName"].removesuffix("-0") in MODELS
    }
    assert published == {
        (f"{model}-0", profile, begin)
        for model in MODELS
        for kind, profile in zip(KINDS.values(), PROFILES[model], strict=True)
        for begin in kind.placements
    }


@pytest.fixture(scope="module")
def answers(fleet: Project) -> dict[str, list[Given]]:
    """Try the mixes one after the other, on all nodes at the same time; return what came of each, by model."""
    found: dict[str, list[Given]] = {model: [] for model in MODELS}
    for number, tried in enumerate(zip(*map(mixes, MODELS), strict=True)):
        names = {model: f"{model}-{number}" for model in MODELS}
        create_all(
            fleet,
            {names[model]: (model, profiles(model, mix)) for model, mix in zip(MODELS, tried, strict=True)},
        )
        decided = decisions(fleet)
        given = devices(fleet)
        for model, name in names.items():
            found[model].append(given[name] if decided[name] else None)
        delete_all(fleet)
    return found


def profiles(model: str, mix: Mix) -> list[str]:
    """Return what the kinds are called on `model`."""
    names = dict(zip(KINDS, PROFILES[model], strict=True))
    return [names[kind] for kind in mix]


@pytest.mark.parametrize("model", MODELS)
def test_random_mixes(answers: dict[str, list[Given]], model: str) -> None:
    tried = zip(mixes(model), answers[model], strict=True)
    wrong = {mix: problem for mix, given in tried if (problem := wrong_with(mix, given))}
    assert not wrong, f"seed {SEED}: {wrong}"


def wrong_with(mix: Mix, given: Given) -> str | None:
    """Say what is wrong with the devices that the scheduler gave out."""
    if given is None:
        return "fits, but is pending" if fits(mix) else None
    if not fits(mix):
        return f"does not fit, but got {given}"
    begins = [placement(given[f"r{place}"]) for place in range(len(mix))]
    slices = [begin + n for kind, begin in zip(mix, begins, strict=True) for n in range(KINDS[kind].size)]
    return None if len(slices) == len(set(slices)) else f"got devices that overlap: {given}"
