"""A thousand pods, a claim each, that come and go: what the program reads is one truth at any time.

The tests of this file build on each other, in their order.
"""

import json
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import cycle
from typing import NamedTuple

import pytest

from cluster.api import snapshot
from cluster.api.api_server import ApiServer
from tests.e2e.project import Project, kill, wait_until
from tests.e2e.reader import Object, Reader
from topology.checks.validation import load
from topology.schema.stack import Topology
from topology.status.report import Report, details, kinds, report

STACK = "example-driver"
WORKLOADS = [f"job-{index}" for index in range(10)]
PODS = 1000
BATCH = 40
READINGS = 12
"""At least so many."""
DELETE = cycle([("--wait=false",), ("--grace-period=0", "--force", "--wait=false")])


@pytest.fixture(scope="module")
def project(new_project: Callable[..., Project]) -> Project:
    """Return a project whose stack has a GPU for each pod, and a few more."""
    found = new_project(STACK)
    claims = [{"name": "gpu", "requests": [{"name": "gpu", "deviceClass": "gpu.example.com"}]}]
    with found.configuration(STACK) as config:
        config["nodePools"] = [{"name": "gpu", "nodes": 16, "gpu": "example-gpu", "gpusPerNode": 63}]
        config["workloads"] = [
            {"name": name, "replicas": 100, "claims": claims, "readyTimeoutSeconds": 900} for name in WORKLOADS
        ]
    return found


@pytest.fixture(scope="module")
def topology(project: Project) -> Topology:
    """Return the stack, as the program has it."""
    with project.configuration(STACK) as config:
        return load({"cluster": {"name": f"kwok-dra-{STACK}"}} | config)


@pytest.fixture
def read(project: Project, topology: Topology, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[Object]]:
    """Return a function that reads as the program does for its outputs and views."""
    for name, value in project.environment.items():
        monkeypatch.setenv(name, value)

    def objects() -> list[Object]:
        found = snapshot.read(ApiServer(), kinds(topology))
        assert found is not None
        return found

    return objects


Read = Callable[[], list[Object]]


def test_settled(project: Project, topology: Topology, read: Read) -> None:
    project.up()
    reader = Reader(project.get("pods,resourceclaims,nodes,resourceslices"))
    assert reader.counts() == {name: {"allocated,reserved": 100} for name in WORKLOADS}
    assert project.outputs()["claims"] == {"counts": reader.counts(), "unsatisfied": []}
    assert details(topology, read()).claims == reader.claims()
    assert project.outputs()["leftovers"] == []
    (pool,) = reader.pools()
    assert project.outputs()["pools"] == [pool | {"free": 8}]


# While pods come and go.


class Event(NamedTuple):
    """An object from some version of the store on, or its end."""

    version: int
    entry: Object
    is_deleted: bool


class Watch:
    """What has happened to the objects of a kind, as a watch of the API server tells it."""

    def __init__(self, project: Project, kind: str) -> None:
        self.events: list[Event] = []
        self._file = project.folder / f"watch-{kind}"
        self._place = 0
        options = ["--all-namespaces", "--watch", "--output-watch-events", "--output", "json"]
        command = ["kubectl", "get", kind, *options]
        with self._file.open("wb") as output:
            self.process = subprocess.Popen(command, env=project.environment, stdin=subprocess.DEVNULL, stdout=output)

    def read(self) -> None:
        """Take in what the watch has told since."""
        with self._file.open("rb") as output:
            output.seek(self._place)
            text = output.read().decode("ascii", "replace")  # a place in the text is a place in the file
        decoder = json.JSONDecoder()
        end = 0
        while (begin := text.find("{", end)) >= 0:
            try:
                event, end = decoder.raw_decode(text, begin)
            except json.JSONDecodeError:
                break  # what is not written to its end yet
            for entry in event["object"].get("items", [event["object"]]):  # it begins with the list of what there is
                version = int(entry["metadata"]["resourceVersion"])
                self.events.append(Event(version, entry, event["type"] == "DELETED"))
        self._place += end


class History:
    """Everything that happened to pods and claims."""

    def __init__(self, project: Project) -> None:
        self.watches = [Watch(project, kind) for kind in ("pods", "resourceclaims")]

    def close(self) -> None:
        """End the watches."""
        for watch in self.watches:
            kill(watch.process.pid)
            watch.process.wait()

    def reaches(self, version: int) -> bool:
        """Tell whether nothing is missing until some version of the store, neither of pods nor of claims."""
        for watch in self.watches:
            watch.read()
        return all(any(event.version > version for event in watch.events) for watch in self.watches)

    def events(self) -> list[Event]:
        """Return what has happened until now, in order."""
        return sorted((event for watch in self.watches for event in watch.events), key=lambda event: event.version)


class Reading(NamedTuple):
    """What the program reads between two versions of the store."""

    begin: int
    end: int
    claims: list[Object]
    report: Report


def version(project: Project) -> int:
    """Return the version that the store has now."""
    return int(project.kubectl("get", "--raw", "/api/v1/pods?limit=1")["metadata"]["resourceVersion"])


def mark(project: Project, kind: str) -> bool:
    """Change one object, of which a watch tells when it has told of all before; False if it is just gone."""
    lasting = [entry for entry in project.get(kind) if "deletionTimestamp" not in entry["metadata"]]
    command = ("kubectl", "annotate", kind, lasting[-1]["metadata"]["name"], "marked=yes")
    return project.run(*command, check=False).returncode == 0


@contextmanager
def deletions(project: Project, batches: int) -> Iterator[threading.Thread]:
    """Delete pods in batches meanwhile, of all workloads and some without mercy."""
    names = [pod["metadata"]["name"] for pod in project.get("pods")]
    taken = [names[place::batches][:BATCH] for place in range(batches)]

    def delete() -> None:
        for batch in taken:
            project.run("kubectl", "delete", "pods", "--ignore-not-found", *next(DELETE), *batch)

    thread = threading.Thread(target=delete)
    thread.start()
    yield thread
    thread.join()


def test_each_reading_is_how_it_was_at_one_moment(project: Project, topology: Topology, read: Read) -> None:
    history = History(project)
    try:
        readings: list[Reading] = []
        with deletions(project, batches=12) as thread:
            while thread.is_alive() or len(readings) < READINGS:
                begin = version(project)
                objects = read()
                found = Reading(begin, version(project), details(topology, objects).claims, report(topology, objects))
                readings.append(found)
        for kind in ("pods", "resourceclaims"):
            wait_until(lambda kind=kind: mark(project, kind))  # type: ignore[misc]
        wait_until(lambda: history.reaches(readings[-1].end))
        events = history.events()
    finally:
        history.close()
    assert any(reading.claims != readings[0].claims for reading in readings)
    for reading in readings:
        check(reading)
        claims = [without_reason(claim) for claim in reading.claims]
        assert claims in states(events, reading), "at no moment it was like this"


def check(reading: Reading) -> None:
    """Check that nothing contradicts itself."""
    devices = Counter((device["pool"], device["device"]) for claim in reading.claims for device in claim["devices"])
    assert not [device for device, claims in devices.items() if claims > 1]
    assert len({claim["pod"] for claim in reading.claims}) == len(reading.claims)
    assert not [claim for claim in reading.claims if claim["state"] == "pending" and claim["node"]]
    assert [entry for entry in reading.report.leftovers if entry["why"] == "duplicate"] == []


def without_reason(claim: Object) -> Object:
    """Leave out what only the program says."""
    return {key: value for key, value in claim.items() if key != "reason"}


def states(events: Sequence[Event], reading: Reading) -> Iterator[list[Object]]:
    """Go through how the claims of pods stood, from the begin of a reading to its end."""
    there: dict[str, Object] = {}
    before = [event for event in events if event.version <= reading.begin]
    for event in before:
        apply(there, event)
    yield claims_without_reasons(there)
    for event in events[len(before) :]:
        if event.version > reading.end:
            return
        apply(there, event)
        yield claims_without_reasons(there)


def apply(there: dict[str, Object], event: Event) -> None:
    """Let an event happen."""
    uid = event.entry["metadata"]["uid"]
    if event.is_deleted:
        there.pop(uid, None)
    else:
        there[uid] = event.entry


def claims_without_reasons(there: Mapping[str, Object]) -> list[Object]:
    """Return what an independent reader sees."""
    return Reader(there.values()).claims()


def test_an_update_while_pods_come_and_go(project: Project, topology: Topology, read: Read) -> None:
    """It waits until all is as expected, and says so of the very moment at which it is."""
    with deletions(project, batches=8) as thread:
        project.up()
    assert not thread.is_alive()
    project.up()
    reader = Reader(project.get("pods,resourceclaims"))
    assert reader.counts() == {name: {"allocated,reserved": 100} for name in WORKLOADS}
    assert project.outputs()["claims"] == {"counts": reader.counts(), "unsatisfied": []}
    assert details(topology, read()).claims == reader.claims()


def test_a_duplicate_is_a_leftover(project: Project, topology: Topology, read: Read) -> None:
    """The controller of the control plane may make a claim twice; here we do."""
    pod = project.get("pods")[0]
    owner = {key: pod["metadata"][key] for key in ("name", "uid")} | {"apiVersion": "v1", "kind": "Pod"}
    duplicate = {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaim",
        "metadata": {
            "name": "made-twice",
            "annotations": {"resource.kubernetes.io/pod-claim-name": "gpu"},
            "ownerReferences": [owner | {"controller": True, "blockOwnerDeletion": True}],
        },
        "spec": {"devices": {"requests": [{"name": "gpu", "exactly": {"deviceClassName": "gpu.example.com"}}]}},
    }
    file = project.folder / "duplicate.json"
    file.write_text(json.dumps(duplicate))
    before = details(topology, read()).claims
    project.run("kubectl", "create", "--filename", str(file))
    objects = read()
    assert details(topology, objects).claims == before
    found = {"name": "made-twice", "namespace": "default", "state": "pending", "why": "duplicate"}
    assert report(topology, objects).leftovers == [found]
    project.run("kubectl", "delete", "resourceclaim", "made-twice")
    assert report(topology, read()).leftovers == []


def test_a_claim_that_is_deleted_by_hand(project: Project, topology: Topology, read: Read) -> None:
    """It stays as long as its pod has it."""
    claim = details(topology, read()).claims[0]
    project.run("kubectl", "delete", "resourceclaim", claim["name"], "--wait=false")
    found = details(topology, read()).claims
    assert found[0] == claim | {"state": "deleted,allocated,reserved"}
    assert found == Reader(project.get("pods,resourceclaims")).claims()
    project.run("kubectl", "delete", "pod", claim["pod"])
    project.up()
    assert project.outputs()["claims"]["counts"] == {name: {"allocated,reserved": 100} for name in WORKLOADS}
    project.destroy()
