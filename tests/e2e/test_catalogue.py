"""Every model of the catalogue on the real API server: it stores each slice and class as it was rendered."""

import re
from collections.abc import Callable
from typing import Any

from tests.e2e.live_stack import LiveCluster
from tests.e2e.project import Project
from topology.checks.validation import load
from topology.objects import claims
from topology.objects.slices import resource_slices
from topology.schema.catalogue import built_in
from topology.schema.profiles import SEPARATOR, base_names
from topology.schema.stack import Topology

COUNT = 2
WITH_PROFILES = ("h100", "l40s", "connectx-7")
"""Models that between them have every kind of profile."""


def models() -> list[str]:
    """Return the models, and of some the profiles."""
    known = built_in().models
    return [*base_names(known), *(name for name in known if name.partition(SEPARATOR)[0] in WITH_PROFILES)]


def pool(name: str) -> dict[str, Any]:
    """Return a pool of one node with two devices of a model; of GPUs that can be cut, the second one is."""
    model = built_in().models[name]
    cut = {"mig": [{"gpus": [1], "profiles": {model.mig[0].name: 2}}]} if model.mig else {}
    host = {} if model.host or not model.slot else {"host": "hgx-h100"}
    return {"name": re.sub("[@.]", "-", name), "devices": [{"model": name, "count": COUNT, **cut}], **host}


def test_every_model(new_project: Callable[[], Project]) -> None:
    """The pools are rendered as `pulumi up` renders them, and sent as they are."""
    topology = load({"cluster": {"name": "c"}, "nodePools": [pool(name) for name in dict.fromkeys(models())]})
    needed = topology.cluster
    gates = {"kubeFeatureGates": needed.kube_feature_gates, "kubeRuntimeConfig": needed.kube_runtime_config}
    cluster = LiveCluster(new_project(), cluster=gates)
    with cluster.stack(topology):
        project = cluster.project
        assert stored(project, "resourceslices") == {
            manifest["metadata"]["name"]: manifest["spec"] for manifest in rendered_slices(topology)
        }
        classes = map(claims.device_class, topology.device_classes)
        assert stored(project, "deviceclasses") == {
            manifest["metadata"]["name"]: manifest["spec"] for manifest in classes
        }
        for node in project.get("nodes"):
            assert node["status"]["capacity"] == node["status"]["allocatable"]
    cluster.close()


def stored(project: Project, kind: str) -> dict[str, Any]:
    """Return the spec of each object of a kind, by name."""
    return {entry["metadata"]["name"]: entry["spec"] for entry in project.get(kind)}


def rendered_slices(topology: Topology) -> list[dict[str, Any]]:
    """Render the slices of every pool's node."""
    return [entry for pool in topology.node_pools for entry in resource_slices(pool, pool.node_names()[0])]
