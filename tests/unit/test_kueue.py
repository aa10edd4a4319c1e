"""Kueue as a controller, the objects of queues, and the queues and workloads that are refused."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from topology.checks.queues import queue_problems
from topology.checks.validation import ConfigurationError, load
from topology.objects import kueue, namespaces, pods
from topology.objects.added_programs import wanted
from topology.objects.local_webhooks import for_local_process
from topology.schema.queues import Queue
from topology.schema.stack import Existing

Object = dict[str, Any]

KUEUE = [{"name": "kueue"}]
GPU, MEMORY = "nvidia.com/gpu", "nvidia.com/mig.memory"
PORT = "{port.webhook}"


def claims(device_class: str = "gpu.nvidia.com", **request: Any) -> list[Object]:
    return [{"name": "gpu", "requests": [{"name": "gpu", "deviceClass": device_class, **request}]}]


def workload(name: str = "train", **values: Any) -> Object:
    return {"name": name, "queue": "a", "claims": claims()} | values


def queue(name: str = "a", **values: Any) -> Object:
    return {"name": name, "flavors": [{"name": "h100", "quotas": {GPU: 4}}]} | values


def stack(*workloads: Object, **values: Any) -> Object:
    pools = [{"name": "n", "gpu": "h100", "gpusPerNode": 8}]
    return {"cluster": {"name": "x"}, "controllers": KUEUE, "queues": [queue()], "nodePools": pools} | {
        "workloads": list(workloads),
        **values,
    }


def refused(raw: Object, folder: Path = Path()) -> dict[str, str]:
    with pytest.raises(ConfigurationError) as error:
        load(raw, folder)
    return {problem.path: problem.message for problem in error.value.problems}


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """What the toolchain copies of Kueue's module, in small."""
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "spec": {"names": {"plural": "workloads"}, "versions": [{"description": "Long.", "a": {"description": {}}}]},
    }
    plain = definition | {"spec": {"names": {"plural": "topologies"}}}
    (tmp_path / "manifests/crd/bases").mkdir(parents=True)
    (tmp_path / "manifests/crd/bases/a.yaml").write_text(yaml.safe_dump(definition))
    (tmp_path / "manifests/crd/bases/b.yaml").write_text(yaml.safe_dump(plain))
    hooks = [
        {"name": name, "rules": [{"apiGroups": [group]}], "clientConfig": {"service": {"path": f"/{name}"}}}
        for name, group in {"mjob.kb.io": "batch", "mrayjob.kb.io": "ray.io", "mworkload.kb.io": kueue_group()}.items()
    ]
    configuration = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "mutating-webhook-configuration"},
        "webhooks": hooks,
    }
    (tmp_path / "manifests/webhook").mkdir()
    (tmp_path / "manifests/webhook/manifests.yaml").write_text(yaml.safe_dump(configuration))
    return tmp_path


def kueue_group() -> str:
    return kueue.API_VERSION.partition("/")[0]


def test_it_runs_with_its_definitions_and_the_webhooks_of_its_frameworks(built: Path) -> None:
    topology = load(stack())
    found = kueue.controller(topology, topology.controllers[0], built)
    assert (found.binary, found.args) == (str(built / "kueue"), ["--config={folder}/config.yaml"])
    assert found.ready == "http://127.0.0.1:{port.health}/readyz"
    space, secret, service, workloads, topologies, webhooks = for_local_process(found.objects, "ca")
    assert (space["metadata"]["name"], secret["metadata"]["namespace"]) == ("kueue-system", "kueue-system")
    assert service["spec"] == {"type": "ExternalName", "externalName": "localhost"}
    client = {
        "service": {"name": "kueue-webhook-service", "namespace": "kueue-system", "path": "/convert", "port": PORT}
    }
    assert workloads["spec"]["conversion"]["webhook"]["clientConfig"] == client
    assert workloads["spec"]["versions"] == [{"a": {"description": {}}}]
    assert "conversion" not in topologies["spec"]
    assert webhooks["metadata"]["name"] == "kueue-mutating-webhook-configuration"
    job, own = webhooks["webhooks"]
    assert (job["name"], own["name"]) == ("mjob.kb.io", "mworkload.kb.io")
    assert job["clientConfig"]["service"] == client["service"] | {"path": "/mjob.kb.io"}
    assert job["namespaceSelector"]["matchExpressions"][0]["values"] == ["kube-system", "kueue-system"]
    assert "namespaceSelector" not in own


def test_the_configuration_of_the_user_comes_first(built: Path) -> None:
    config = {"integrations": {"frameworks": ["ray.io/rayjob"]}, "metrics": {"x": 1}, "featureGates": {"X": True}}
    topology = load(stack(controllers=[{"name": "kueue", "config": config}]))
    found = kueue.controller(topology, topology.controllers[0], built)
    written = found.files["config.yaml"]
    assert isinstance(written, dict)
    assert written["metrics"] == {"bindAddress": "127.0.0.1:{port.metrics}", "x": 1}
    assert written["featureGates"] == {"VisibilityOnDemand": False, "X": True}
    assert written["integrations"] == config["integrations"]
    assert [hook["name"] for hook in found.objects[-1]["webhooks"]] == ["mrayjob.kb.io", "mworkload.kb.io"]


def test_kueue_itself_tells_what_is_wrong_with_its_configuration(built: Path) -> None:
    config = {"integrations": {"frameworks": 1}, "resources": {"deviceClassMappings": [{"deviceClassNames": 1}]}}
    topology = load(stack(controllers=[{"name": "kueue", "config": config}], queues=[]))
    found = kueue.controller(topology, topology.controllers[0], built)
    assert found.files["config.yaml"] == kueue.configuration(topology, config)
    assert kueue.resources(topology) == {}


def test_the_newest_version_that_is_built_runs(built: Path, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    (built / "kueue").write_text("#!/bin/sh\n")
    (built / "kueue").chmod(0o755)
    (tools / "kueue").mkdir(parents=True)
    for version in ("v0.9.3", "v0.19.2"):
        (tools / "kueue" / version).symlink_to(built)
    (program,) = wanted(load(stack()), tmp_path, tools)
    assert program["binary"] == f"{tools}/kueue/v0.19.2/kueue"
    assert program["certificate_secret"] == ("kueue-system", "kueue-webhook-server-cert")


def test_manifests_of_the_user_come_after_its_own(built: Path, tmp_path: Path) -> None:
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "more"}}
    (tmp_path / "more.yaml").write_text(yaml.safe_dump(space))
    topology = load(stack(controllers=[{"name": "kueue", "manifests": ["more.yaml"]}]), tmp_path)
    assert kueue.controller(topology, topology.controllers[0], built).objects[-1] == space


def mappings(**values: Any) -> dict[str, Object]:
    found = kueue.configuration(load(stack(**values)), {})["resources"]["deviceClassMappings"]
    return {entry["name"]: entry for entry in found}


def test_devices_are_counted_and_mig_devices_of_different_sizes_measured() -> None:
    found = mappings(nodePools=[{"name": "n", "gpu": "h100", "mig": "dynamic"}])
    assert found[GPU] == {"name": GPU, "deviceClassNames": ["gpu.nvidia.com"]}
    selector = "device.driver == 'gpu.nvidia.com' && device.attributes['gpu.nvidia.com'].type == 'mig'"
    counter = {"name": "memory", "driver": "gpu.nvidia.com", "deviceSelector": {"cel": {"expression": f"({selector})"}}}
    assert found[MEMORY] == {
        "name": MEMORY,
        "deviceClassNames": ["mig.nvidia.com"],
        "sources": [{"counter": counter}],
    }


@pytest.mark.parametrize(
    "own",
    [
        {"name": "mig", "selectors": ["device.attributes['gpu.nvidia.com'].?profile.orValue('') == '1g.12gb'"]},
        {"name": "mig", "selectors": ["device.driver == 'gpu.nvidia.com'"], "extendedResourceName": "example.com/mig"},
        {"name": "mig", "selectors": ["device.attributes['gpu.nvidia.com'].absent"]},
    ],
)
def test_devices_of_one_size_or_of_an_extended_resource_are_counted(own: Object) -> None:
    pools = [{"name": "n", "gpu": "gh200-96gb", "mig": "dynamic"}]
    assert mappings(nodePools=pools, deviceClasses=[own])["mig"] == {"name": "mig", "deviceClassNames": ["mig"]}


def test_whole_devices_are_counted_whatever_their_sizes() -> None:
    pools = [{"name": name, "gpu": name, "mig": "dynamic"} for name in ("h100", "gh200-96gb")]
    assert mappings(nodePools=pools)[GPU] == {"name": GPU, "deviceClassNames": ["gpu.nvidia.com"]}


def test_devices_that_are_no_parts_are_counted() -> None:
    pools = [{"name": "n", "gpu": "h100", "gpusPerNode": 1}, {"name": "m", "gpu": "h100", "mig": "dynamic"}]
    own = {"name": "all", "selectors": ["device.driver == 'gpu.nvidia.com'"]}
    assert mappings(nodePools=pools, deviceClasses=[own])["all"] == {"name": "all", "deviceClassNames": ["all"]}


def test_as_many_classes_are_mapped_as_kueue_takes_those_with_quotas_first() -> None:
    classes = [{"name": f"c{number}.example.com", "selectors": ["true"]} for number in range(20)]
    quotas = [{"name": "f", "quotas": {"example.com/c19": 1}}]
    found = list(mappings(deviceClasses=classes, queues=[queue(flavors=quotas)]))
    assert (len(found), found[0]) == (16, "example.com/c19")


def test_objects_of_queues() -> None:
    first = queue(cohort="all", preemption={"reclaimWithinCohort": "Any"})
    limited = {"name": "l4", "nodeLabels": {"gpu": "l4"}, "quotas": {GPU: {"nominalQuota": 4, "borrowingLimit": 0}}}
    cpu = {"name": "cpu", "quotas": {"cpu": "100"}}
    second = queue("b", namespaces=["t", "u"], cohort="all", flavors=[*first["flavors"], limited, cpu])
    topology = load(stack(queues=[first, second]))
    found = kueue.objects(topology)
    flavors, (a, b, local, *others) = found[:3], found[3:]
    assert [(entry["metadata"]["name"], entry["spec"]) for entry in flavors] == [
        ("h100", {}),
        ("l4", {"nodeLabels": {"gpu": "l4"}}),
        ("cpu", {}),
    ]
    assert a["spec"] == {
        "namespaceSelector": {},
        "cohortName": "all",
        "preemption": {"reclaimWithinCohort": "Any"},
        "resourceGroups": [
            {
                "coveredResources": [GPU],
                "flavors": [{"name": "h100", "resources": [{"name": GPU, "nominalQuota": "4"}]}],
            }
        ],
    }
    groups = b["spec"]["resourceGroups"]
    assert [[flavor["name"] for flavor in group["flavors"]] for group in groups] == [["h100", "l4"], ["cpu"]]
    assert groups[0]["flavors"][1]["resources"] == [{"name": GPU, "nominalQuota": "4", "borrowingLimit": "0"}]
    assert (local["kind"], local["spec"]) == ("LocalQueue", {"clusterQueue": "a"})
    assert [entry["metadata"] for entry in others] == [{"name": "b", "namespace": "t"}, {"name": "b", "namespace": "u"}]
    assert [entry["metadata"]["name"] for entry in namespaces.namespaces(topology)] == ["t", "u"]


@pytest.mark.parametrize("kind", ["Deployment", "Job", "Pod"])
def test_workloads_name_their_queue(kind: str) -> None:
    plain, queued = load(stack(workload(kind=kind, queue=None), workload("b", kind=kind))).workloads
    assert "kueue.x-k8s.io/queue-name" not in str(pods.workload_objects(plain))
    found = pods.workload_objects(queued)[0]
    assert found["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "a"
    assert "queue-name" not in str(found["spec"])


@pytest.mark.parametrize(
    ("values", "is_used"),
    [
        ({"controllers": [], "queues": []}, False),
        ({"queues": []}, True),
        ({"queues": [], "controllers": [{"name": "kueue", "binary": "/bin/true"}]}, True),
    ],
)
def test_kueue_is_asked_only_where_it_may_hold_something(values: Object, is_used: bool) -> None:
    assert kueue.is_used(load(stack(workload(queue=None), **values))) == is_used


def test_somebody_else_may_run_kueue(tmp_path: Path) -> None:
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "workloads.kueue.x-k8s.io"},
        "spec": {"group": "kueue.x-k8s.io"},
    }
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(definition))
    manifests = [{"name": "m", "files": ["a.yaml"]}]
    assert kueue.is_used(load(stack(controllers=[], queues=[], manifests=manifests), tmp_path))
    queued = load(stack(workload())).model_copy(update={"controllers": []})
    assert kueue.is_used(queued.model_copy(update={"queues": []}))
    assert kueue.is_used(queued.model_copy(update={"workloads": []}))


def test_what_is_counted_besides_devices() -> None:
    pools = [{"name": "n", "gpu": "h100", "capacity": {"example.com/license": "4"}}]
    quotas = {"pods": 8, "example.com/license": 2, "cpu": 1}
    topology = load(stack(nodePools=pools, queues=[queue(flavors=[{"name": "f", "quotas": quotas}])]))
    (group,) = kueue.objects(topology)[1]["spec"]["resourceGroups"]
    assert group["coveredResources"] == [entry["name"] for entry in group["flavors"][0]["resources"]] == sorted(quotas)


def test_all_that_a_cluster_queue_can_say() -> None:
    said: Object = {"queueingStrategy": "StrictFIFO", "flavorFungibility": {"a": 1}, "fairSharing": {"weight": "2"}}
    assert kueue.objects(load(stack(queues=[queue(**said)])))[1]["spec"].items() >= said.items()


def test_an_existing_cluster_may_have_other_queues_and_mappings() -> None:
    topology = load(stack())
    existing = topology.cluster.model_copy(update={"existing": Existing(kubeconfig="k", context="c")})
    more = load(stack(workload(), queues=[queue(namespaces=["t", "default"])])).workloads[0]
    quotas = {"name": "f", "quotas": {"example.com/unknown": 4}}
    other = [Queue.model_validate(queue("b", flavors=[quotas]))]
    changed = topology.model_copy(update={"workloads": [more], "queues": other, "controllers": []})
    assert len(list(queue_problems(changed))) == 3
    assert list(queue_problems(changed.model_copy(update={"cluster": existing}))) == []


def test_a_workload_alone_needs_kueue_too() -> None:
    topology = load(stack(workload())).model_copy(update={"queues": [], "controllers": []})
    assert [problem.message.split(",")[0] for problem in queue_problems(topology)] == [
        "needs Kueue",
        "there is no queue 'a' in namespace default. There are none yet: add it to kwok-dra:queues",
    ]


NOTHING = "which Kueue does not count, so it admits no such pods: remove it, or queue"
FIRST = [{"name": "a", "deviceClass": "gpu.nvidia.com"}]
ADD_QUEUE = "add it to kwok-dra:queues"


@pytest.mark.parametrize(
    ("raw", "path", "message"),
    [
        (stack(controllers=[]), "queues", "needs Kueue, which does not run: add {name: kueue} to kwok-dra:controllers"),
        (
            stack(workload(queue="b")),
            "workloads[0].queue",
            f"there is no queue 'b' in namespace default. Name one of a, or {ADD_QUEUE}",
        ),
        (
            stack(workload(queue="c"), queues=[queue(), queue("b", namespaces=["t"])]),
            "workloads[0].queue",
            f"there is no queue 'c' in namespace default. Name one of a, or {ADD_QUEUE}",
        ),
        (
            stack(queues=[queue(namespaces=["t", "t"])]),
            "queues[0].namespaces",
            "lists 't' more than once: list each value once",
        ),
        (
            stack(workload(namespace="t")),
            "workloads[0].queue",
            "queue a has no LocalQueue in namespace t, only in default: add t to its namespaces",
        ),
        (
            stack(queues=[queue(flavors=[{"name": "f", "quotas": {"nvidia.com/gpus": 4}}])]),
            "queues[0].flavors[0].quotas.nvidia.com/gpus",
            "counts nothing: no class maps to it; did you mean 'nvidia.com/gpu'? ",
        ),
        (
            stack(queues=[queue(), queue("b", flavors=[queue()["flavors"][0] | {"nodeLabels": {"x": "y"}}])]),
            "queues[1].flavors[0].nodeLabels",
            "differ from those of queues[0].flavors[0], which is the same flavor, h100: give both the same, or give "
            "this one another name",
        ),
        (
            stack(queues=[queue(), queue()]),
            "queues[1].name",
            "'a' is already the name of queues[0]: give each its own",
        ),
        (
            stack(queues=[queue(flavors=[*queue()["flavors"], {"name": "b", "quotas": {GPU: 1, "cpu": 1}}])]),
            "queues[0].flavors[1].quotas",
            f"and those of flavor h100 have {GPU} in common, so Kueue wants the same resources in both: add the "
            "missing ones, with 0 for none",
        ),
        (
            stack(queues=[queue(flavors=[{"name": "f", "quotas": {GPU: {"nominalQuota": 1, "lendingLimit": 0}}}])]),
            f"queues[0].flavors[0].quotas.{GPU}",
            "has a limit for borrowing or lending, which queues do in a cohort only: set cohort, or remove it",
        ),
        (
            stack(queues=[queue(flavors=[{"name": "f", "quotas": {GPU: {"nominalQuota": 1, "borrowingLimit": 1}}}])]),
            f"queues[0].flavors[0].quotas.{GPU}",
            "has a limit for borrowing or lending",
        ),
        (
            stack(queues=[queue(flavors=queue()["flavors"] * 2)]),
            "queues[0].flavors",
            "has the flavor h100 twice: give it all its quotas in one entry",
        ),
        (
            stack(workload(claims=claims(allocationMode="All"))),
            "workloads[0].claims[0].requests[0]",
            f"has allocationMode: All, {NOTHING}",
        ),
        (
            stack(workload(namespace="t", claims=claims(adminAccess=True)), queues=[queue(namespaces=["t"])]),
            "workloads[0].claims[0].requests[0]",
            f"has adminAccess, {NOTHING}",
        ),
        (
            stack(workload(claims=[{"name": "c", "requests": [{"name": "r", "firstAvailable": FIRST}]}])),
            "workloads[0].claims[0].requests[0]",
            f"has firstAvailable, {NOTHING}",
        ),
        (
            stack(
                workload(claims=claims("mig.nvidia.com")), nodePools=[{"name": "n", "gpu": "h100", "mig": "dynamic"}]
            ),
            "workloads[0].claims[0].requests[0]",
            f"is for devices that count as {MEMORY}, for which queue a has no quota, so Kueue admits no such pods: add "
            "a quota for it, or expect the claims to stay pending",
        ),
        (
            stack(
                workload(claims=[{"name": "gpu", "claim": "both"}]),
                claims=[{"name": "both", "requests": claims()[0]["requests"]}],
            ),
            "workloads[0].claims[0]",
            "is a shared claim, and Kueue admits no pods with one: remove queue, or give each pod its own",
        ),
    ],
)
def test_what_is_refused(raw: Object, path: str, message: str) -> None:
    found = refused(raw)
    assert list(found) == [path]
    assert found[path].startswith(message)


def test_what_is_not_known_is_not_refused(tmp_path: Path) -> None:
    """Manifests can have queues of their own; so can an existing cluster."""
    local = {"apiVersion": kueue.API_VERSION, "kind": "LocalQueue", "metadata": {"name": "b"}}
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(local))
    manifests = [{"name": "m", "files": ["a.yaml"]}]
    load(stack(workload(queue="b"), manifests=manifests), tmp_path)
    load(stack(workload(claims=claims(allocationMode="All"), expect={"allocated": 0, "pending": 1})))
