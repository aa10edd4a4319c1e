"""The stack that is measured: one pool of H100 nodes, and what runs on it."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from tests.e2e.project import Project

STACK = "bench"
POOL = "h100"
NODES = "/api/v1/nodes"
SLICES = "/apis/resource.k8s.io/v1/resourceslices"
PATIENCE_SECONDS = 1800

Entry = dict[str, Any]
Tuning = Literal["fleet", "stock"]


class BenchStack:
    """A project with a stack whose pools have the given `provisioning`."""

    def __init__(self, folder: Path, provisioning: str) -> None:
        self.project = Project(folder)
        self._provisioning = {} if provisioning == "objects" else {"provisioning": provisioning}  # that is the default
        (self.project.source / "stacks" / f"Pulumi.{STACK}.yaml").write_text("config: {kwok-dra:nodePools: []}")
        self.project.select(STACK)

    def configure(self, *pools: Entry, workloads: tuple[Entry, ...] = (), tuning: Tuning = "fleet") -> None:
        """Write the stack's configuration anew."""
        with self.project.configuration(STACK) as config:
            config["cluster"] = {"tuning": tuning}
            config["nodePools"] = [entry | self._provisioning for entry in pools]
            config["workloads"] = list(workloads)

    @contextmanager
    def cluster(self, *pools: Entry, tuning: Tuning = "fleet") -> Iterator[None]:
        """Have a cluster with the `pools`, all Ready, for the length of the block."""
        self.configure(*pools, tuning=tuning)
        self.project.up()
        self.wait_until_ready(sum(entry["nodes"] for entry in pools))
        yield
        self.project.destroy()

    def wait_until_ready(self, nodes: int) -> None:
        """Check that as many nodes and slices are there, and wait until all nodes are Ready."""
        assert (found := (self.count(NODES), self.count(SLICES))) == (nodes, nodes), f"{found} objects, not {nodes}"
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (ready := self._ready_nodes()) < nodes:
            assert time.monotonic() < deadline, f"{ready} of {nodes} nodes are Ready"
            time.sleep(1)

    def _ready_nodes(self) -> int:
        return self.project.run("kubectl", "get", "nodes", "--no-headers").stdout.count(" Ready ")

    def count(self, path: str) -> int:
        """Return how many objects there are at `path` of the API, without reading them."""
        found = self.project.kubectl("get", "--raw", f"{path}?limit=1")
        rest: int = found["metadata"].get("remainingItemCount", 0)
        return len(found["items"]) + rest

    def slices_of(self, node: str) -> list[Entry]:
        """Return the ResourceSlices of a node."""
        items: list[Entry] = self.project.kubectl("get", "--raw", f"{SLICES}?fieldSelector=spec.nodeName%3D{node}")[
            "items"
        ]
        return items

    def write(self, name: str, *objects: Entry) -> str:
        """Write a file that kubectl can read, and return its path."""
        file = self.project.folder / name
        file.write_text("\n".join(json.dumps(entry) for entry in objects))
        return str(file)


def pool(nodes: int, gpus: int = 8) -> Entry:
    """Return the configuration of the pool."""
    return {"name": POOL, "nodes": nodes, "gpu": "h100", "gpusPerNode": gpus}


def workload(name: str, pods: int, **more: object) -> Entry:
    """Return the configuration of a Deployment whose pods claim one GPU each."""
    claims = [{"name": "gpu", "requests": [{"name": "gpu", "deviceClass": "gpu.nvidia.com"}]}]
    return {"name": name, "replicas": pods, "claims": claims, "readyTimeoutSeconds": PATIENCE_SECONDS, **more}


def component_peaks(stack: BenchStack) -> dict[str, int]:
    """Return the bytes of resident memory that each component of the cluster has had at most, each at its own time."""
    found = {}
    for name, pid in stack.project.pids().items():
        lines = Path("/proc", str(pid), "status").read_text().splitlines()
        [size] = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
        found[name] = int(size) * 1024
    return found
