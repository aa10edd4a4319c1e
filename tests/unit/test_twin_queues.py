"""The queues of Kueue in a dump, and the pods that they admit or hold."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.real_slices import node
from tests.unit.test_twin_workloads import CLASS, DRIVER, HOLDING, NODES, claim, pod, request, twin
from twin.stack import Stack

Object = dict[str, Any]

QUEUE = "kueue.x-k8s.io/queue-name"
HELD: Object = {"schedulingGates": [{"name": "kueue.x-k8s.io/admission"}]}
NOTE = "queues of Kueue are left out: 1"
CONFIG_MAP = "controller_manager_config.yaml"
MAPPINGS = [{"name": "acme.com/gpu", "deviceClassNames": [DRIVER]}]
QUOTAS = {"acme.com/gpu": "4", "cpu": "64"}
TEMPLATE = {
    "apiVersion": "resource.k8s.io/v1",
    "kind": "ResourceClaimTemplate",
    "metadata": {"name": "one-gpu", "namespace": "default"},
    "spec": {"spec": {"devices": {"requests": [request()]}}},
}


def of_kueue(kind: str, name: str, version: str = "v1beta2", namespace: str = "", **spec: Any) -> Object:
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": f"kueue.x-k8s.io/{version}", "kind": kind, "metadata": metadata, "spec": spec}


def cluster_queue(name: str = "secret-cq", quotas: Object | None = None, **spec: Any) -> Object:
    """Return a ClusterQueue with what the API server adds."""
    resources = [{"name": key, "nominalQuota": amount} for key, amount in (quotas or QUOTAS).items()]
    flavors = [{"name": "secret-flavor", "resources": resources}]
    by_default = {
        "namespaceSelector": {},
        "queueingStrategy": "BestEffortFIFO",
        "stopPolicy": "None",
        "preemption": {
            "borrowWithinCohort": {"policy": "Never"},
            "reclaimWithinCohort": "Never",
            "withinClusterQueue": "Never",
        },
        "flavorFungibility": {"whenCanBorrow": "MayStopSearch", "whenCanPreempt": "TryNextFlavor"},
    }
    groups = [{"coveredResources": list(quotas or QUOTAS), "flavors": flavors}]
    return of_kueue("ClusterQueue", name, **{"resourceGroups": groups} | by_default | spec)


def local_queue(name: str = "secret-lq", namespace: str = "default", queue: str = "secret-cq") -> Object:
    return of_kueue("LocalQueue", name, namespace=namespace, clusterQueue=queue)


def config_map(**resources: Any) -> Object:
    content = {"apiVersion": "config.kueue.x-k8s.io/v1beta2", "kind": "Configuration", "resources": resources}
    metadata = {"name": "kueue-manager-config", "namespace": "kueue-system"}
    data = {CONFIG_MAP: yaml.safe_dump(content)}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


FLAVOR = of_kueue("ResourceFlavor", "secret-flavor")
KUEUE = [FLAVOR, cluster_queue(), local_queue(), config_map(deviceClassMappings=MAPPINGS)]


def queued(entry: Object, **labels: str) -> Object:
    """Return a pod or Job with a queue, or with other labels of Kueue."""
    added = {f"kueue.x-k8s.io/{name.replace('_', '-')}": text for name, text in labels.items()}
    metadata = entry["metadata"]
    return entry | {"metadata": metadata | {"labels": metadata.get("labels", {}) | (added or {QUEUE: "secret-lq"})}}


def job(name: str = "sweep", *, suspend: bool = True, **spec: Any) -> Object:
    containers = [{"name": "main", "resources": {"claims": [{"name": "gpu"}]}}]
    claims = [{"name": "gpu", "resourceClaimTemplateName": "one-gpu"}]
    pods = {"template": {"spec": {"containers": containers, "resourceClaims": claims}}}
    counts = {"suspend": suspend, "parallelism": 2, "completions": 3}
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": counts | pods | spec}


def made(folder: Path, *objects: Object, **options: Any) -> Stack:
    return twin(folder, *NODES, CLASS, TEMPLATE, *objects, **options)


def running(**labels: str) -> list[Object]:
    return [HOLDING[0], queued(pod("p-0", "c-0", "n-a"), **labels)]


def of_workloads(found: Stack, key: str) -> list[Any]:
    return [workload.get(key) for workload in found.configuration["workloads"]]


# Queues.


def test_a_queue_has_its_quotas_and_pseudonyms(tmp_path: Path) -> None:
    own = CLASS | {"metadata": {"name": "secret-class"}}
    config = config_map(deviceClassMappings=[MAPPINGS[0] | {"deviceClassNames": [DRIVER, "secret-class"]}])
    found = made(tmp_path, own, *KUEUE[:3], config, local_queue(namespace="secret-team"), *running())
    assert found.configuration["queues"] == [
        {
            "name": "queue-1",
            "namespaces": ["default", "namespace-1"],
            "flavors": [{"name": "flavor-1", "quotas": QUOTAS}],
        }
    ]
    mappings = [{"name": "acme.com/gpu", "deviceClassNames": [DRIVER, "class-1"]}]
    assert found.configuration["controllers"] == [
        {"name": "kueue", "version": "default", "config": {"resources": {"deviceClassMappings": mappings}}}
    ]
    assert of_workloads(found, "queue") == ["queue-1"]
    assert found.notes == []


def test_names_that_are_kept_are_those_of_cluster_queues(tmp_path: Path) -> None:
    found = made(tmp_path, *KUEUE, *running(), keep_names=True)
    assert of_workloads(found, "queue") == ["secret-cq"]
    assert [entry["name"] for entry in found.configuration["queues"]] == ["secret-cq"]


@pytest.mark.parametrize("version", ["v1beta1", "v1beta2"])
def test_what_differs_from_the_defaults_is_kept(tmp_path: Path, version: str) -> None:
    preemption = {"reclaimWithinCohort": "Any", "withinClusterQueue": "Never"}
    queue = cluster_queue(
        queueingStrategy="StrictFIFO",
        preemption=preemption,
        flavorFungibility={"whenCanBorrow": "Borrow", "whenCanPreempt": "Preempt"},
    )
    queue["spec"]["cohort" if version == "v1beta1" else "cohortName"] = "secret-company"
    quota = queue["spec"]["resourceGroups"][0]["flavors"][0]["resources"][0]
    quota |= {"borrowingLimit": "2", "lendingLimit": 1}
    queue["apiVersion"] = f"kueue.x-k8s.io/{version}"
    found = made(tmp_path, FLAVOR, queue, *KUEUE[2:], *running())
    (written,) = found.configuration["queues"]
    assert written["flavors"][0]["quotas"]["acme.com/gpu"] == {
        "nominalQuota": "4",
        "borrowingLimit": "2",
        "lendingLimit": "1",
    }
    assert {key: written[key] for key in written.keys() - {"name", "flavors", "namespaces"}} == {
        "cohort": "cohort-1",
        "queueingStrategy": "StrictFIFO",
        "preemption": {"reclaimWithinCohort": "Any"},
        "flavorFungibility": {"whenCanPreempt": "MayStopSearch"},
    }
    assert found.notes == []


def test_labels_of_flavors_are_labels_of_nodes(tmp_path: Path) -> None:
    labels = {"example.com/gpu": "big", "kubernetes.io/arch": "amd64"}
    flavor = of_kueue("ResourceFlavor", "secret-flavor", nodeLabels=labels)
    nodes = [node("n-a", labels), node("n-b", labels), *NODES[2:]]
    found = twin(tmp_path, *nodes, CLASS, TEMPLATE, flavor, *KUEUE[1:], *running())
    (queue,), (pool,) = found.configuration["queues"], found.configuration["nodePools"]
    assert queue["flavors"][0]["nodeLabels"] == {"twin/label-1": "value-1", "kubernetes.io/arch": "amd64"}
    assert pool["labels"].items() >= {"twin/label-1": "value-1"}.items()


LIMITED = "admission checks, stop policies and namespace selectors of queues are left out: 1"
UNKNOWN = "quotas of resources that the twin does not count, or of unknown flavors, are left out"
FLAVORS = "hostnames, taints, tolerations and topologies of ResourceFlavors are left out: 1"


@pytest.mark.parametrize(
    ("changed", "note"),
    [
        ([FLAVOR, cluster_queue(stopPolicy="Hold")], LIMITED),
        ([FLAVOR, cluster_queue(namespaceSelector={"matchLabels": {"a": "b"}})], LIMITED),
        ([FLAVOR, cluster_queue(admissionChecks=["capacity"])], LIMITED),
        ([FLAVOR, cluster_queue(quotas=QUOTAS | {"example.com/licence": "7"})], f"{UNKNOWN}: 1"),
        ([of_kueue("ResourceFlavor", "secret-flavor", topologyName="rack"), cluster_queue()], FLAVORS),
        (
            [
                of_kueue("ResourceFlavor", "secret-flavor", nodeLabels={"kubernetes.io/hostname": "n-a"}),
                cluster_queue(),
            ],
            FLAVORS,
        ),
    ],
)
def test_what_queues_cannot_have_is_told(tmp_path: Path, changed: list[Object], note: str) -> None:
    found = made(tmp_path, *changed, *KUEUE[2:], *running())
    assert found.notes == [note]
    assert found.configuration["queues"][0]["flavors"] == [{"name": "flavor-1", "quotas": QUOTAS}]


def test_without_its_flavors_a_queue_is_left_out(tmp_path: Path) -> None:
    found = made(tmp_path, *KUEUE[1:], *running())
    assert found.notes == [f"{UNKNOWN}: 2", NOTE]
    assert not {"queues", "controllers"} & found.configuration.keys()


def test_the_configurations_of_others_are_not_kueues(tmp_path: Path) -> None:
    others = [config_map(deviceClassMappings=[]), config_map(), config_map(deviceClassMappings=7)]
    for number, other in enumerate(others):
        other["metadata"] = {"name": f"other-{number}", "namespace": "default"}
    others[0]["data"] = {CONFIG_MAP: "apiVersion: config.jobset.x-k8s.io/v1alpha1\n---\n7"}
    others[1]["data"] = {CONFIG_MAP: "a: &a [*a]"}
    found = made(tmp_path, *others, *KUEUE, *running())
    assert (of_workloads(found, "queue"), found.notes) == (["queue-1"], [])


def test_sources_of_a_mapping_have_the_twins_identities(tmp_path: Path) -> None:
    (identity,) = (
        device["attributes"]["uuid"]["string"] for device in NODES[2]["spec"]["devices"] if device["name"] == "gpu-0"
    )
    selector = {"cel": {"expression": f"device.attributes['{DRIVER}'].uuid == '{identity}'"}}
    sources = [{"counter": {"name": "memory", "driver": DRIVER, "deviceSelector": selector}}]
    mappings = [MAPPINGS[0] | {"sources": sources}]
    found = made(tmp_path, *KUEUE[:3], config_map(deviceClassMappings=mappings), *running())
    assert identity not in str(found.configuration)
    (mapping,) = found.configuration["controllers"][0]["config"]["resources"]["deviceClassMappings"]
    assert "uuid == 'GPU-" in mapping["sources"][0]["counter"]["deviceSelector"]["cel"]["expression"]


# Pods.


@pytest.mark.parametrize("label", ["queue_name", "local_queue_name"])
def test_pods_of_deployments_and_of_admitted_jobs_name_the_queue(tmp_path: Path, label: str) -> None:
    assert of_workloads(made(tmp_path, *KUEUE, *running(**{label: "secret-lq"})), "queue") == ["queue-1"]


def test_the_job_of_a_pod_names_the_queue(tmp_path: Path) -> None:
    made_by_job = queued(pod("p-0", "c-0", "n-a", owner="sweep"), podset="main")
    made_by_job["metadata"]["ownerReferences"][0] |= {"apiVersion": "batch/v1", "kind": "Job"}
    objects = [*KUEUE, HOLDING[0], made_by_job]
    assert of_workloads(made(tmp_path, *objects, queued(job(suspend=False))), "queue") == ["queue-1"]
    found = made(tmp_path, *objects)
    assert (of_workloads(found, "queue"), found.notes) == ([None], [NOTE])


@pytest.mark.parametrize(
    ("kueue", "spec"),
    [
        ([], [request()]),
        (KUEUE[:3], [request()]),  # Without its mapping the class counts as another resource.
        ([FLAVOR, cluster_queue(quotas={"acme.com/gpu": "4"}), *KUEUE[2:]], [request()]),  # without cpu
        (KUEUE, [request(allocationMode="All")]),
        (KUEUE, [{"name": "gpu", "firstAvailable": [{"name": "a", "deviceClassName": DRIVER}]}]),
    ],
)
def test_a_queue_that_would_not_admit_the_pod_is_left_out(
    tmp_path: Path, kueue: list[Object], spec: list[Object]
) -> None:
    template = TEMPLATE | {"spec": {"spec": {"devices": {"requests": spec}}}}
    holding = claim("c-0", [("n-a", "gpu-0")], *spec)
    objects = [*NODES, CLASS, template, *kueue, holding, queued(pod("p-0", "c-0", "n-a"))]
    found = twin(tmp_path, *objects)
    assert of_workloads(found, "queue") == [None]
    assert NOTE in found.notes


def test_admin_access_is_not_admitted(tmp_path: Path) -> None:
    asking = [claim("c-0", [("n-a", "gpu-0")], request(adminAccess=True)), queued(pod("p-0", "c-0", "n-a"))]
    template = TEMPLATE | {"spec": {"spec": asking[0]["spec"]}}
    inside = [entry | {"metadata": entry["metadata"] | {"namespace": "ops"}} for entry in (template, *asking)]
    found = twin(tmp_path, *NODES, CLASS, *KUEUE, local_queue(namespace="ops"), *inside)
    assert (of_workloads(found, "queue"), found.notes) == ([None], [NOTE])


def test_a_shared_claim_is_not_admitted(tmp_path: Path) -> None:
    shared = queued(pod("p-0", None, "n-a", resourceClaims=[{"name": "gpu", "resourceClaimName": "c-0"}]))
    found = made(tmp_path, *KUEUE, HOLDING[0], shared)
    assert (of_workloads(found, "queue"), found.notes) == ([None], [NOTE])


def test_what_kueue_excludes_needs_no_quota(tmp_path: Path) -> None:
    queue = cluster_queue(quotas={"acme.com/gpu": "4"})
    config = config_map(deviceClassMappings=MAPPINGS, excludeResourcePrefixes=["cpu"])
    found = made(tmp_path, FLAVOR, queue, local_queue(), config, *running())
    assert of_workloads(found, "queue") == ["queue-1"]
    assert found.configuration["controllers"][0]["config"]["resources"]["excludeResourcePrefixes"] == ["cpu"]


def test_an_extended_resource_counts_as_its_class(tmp_path: Path) -> None:
    served = CLASS | {"spec": CLASS["spec"] | {"extendedResourceName": "acme.com/whole"}}
    containers = [{"name": "main", "resources": {"requests": {"acme.com/whole": "1"}}}]
    asking = queued(pod("p-0", None, containers=containers, resourceClaims=[]))
    found = twin(tmp_path, *NODES, served, *KUEUE, asking)
    assert (of_workloads(found, "queue"), found.notes[:1]) == (["queue-1"], [])


def test_held_pods_are_expected_to_wait_and_come_last(tmp_path: Path) -> None:
    waiting = pod("a-0", None, owner="a-5d4f", nodeSelector={"kubernetes.io/arch": "arm64"})
    held = [queued(pod(f"h-{number}", None, **HELD)) for number in range(2)]
    found = made(tmp_path, *KUEUE, *running(), *held, waiting)
    assert of_workloads(found, "expect") == [{"allocated": 1, "pending": 2}, {"allocated": 0, "pending": 1}]
    found = made(tmp_path, *KUEUE, *held, *HOLDING[:1], pod("p-0", "c-0", "n-a"), waiting)
    assert of_workloads(found, "queue") == [None, None, "queue-1"]
    assert of_workloads(found, "after") == [None, ["workload-3"], ["workload-3", "workload-1"]]
    assert found.notes == []


def test_held_pods_whose_queue_is_unknown_are_left_out(tmp_path: Path) -> None:
    objects = [*running(), queued(pod("h-0", None, **HELD)), queued(job())]
    assert made(tmp_path, *objects).notes == ["pods that queues of Kueue hold are left out: 3", NOTE]


def test_pods_of_a_held_group_are_left_out(tmp_path: Path) -> None:
    """Kueue admits all of them or none."""
    labels = {"queue_name": "secret-lq", "pod_group_name": "g"}
    found = made(tmp_path, *KUEUE, *running(**labels), queued(pod("h-0", None, **HELD), **labels))
    assert of_workloads(found, "queue") == ["queue-1"]
    assert found.notes == ["pods that queues of Kueue hold are left out: 1"]


def test_other_gates_are_not_kueues(tmp_path: Path) -> None:
    gates = [*HELD["schedulingGates"], {"name": "example.com/other"}]
    found = made(tmp_path, *KUEUE, *running(), queued(pod("h-0", None, schedulingGates=gates)))
    assert found.notes == ["pods with schedulingGates are left out: 1"]


# Jobs.


def test_each_held_job_is_a_job(tmp_path: Path) -> None:
    jobs = [queued(job("sweep")), queued(job("again", completions=1)), queued(job("done", suspend=False))]
    jobs += [job("of-somebody-else")]
    found = made(tmp_path, *KUEUE, *running(), *jobs)
    assert of_workloads(found, "kind") == [None, "Job", "Job"]
    assert of_workloads(found, "replicas") == [1, 1, 2]
    assert of_workloads(found, "queue") == ["queue-1"] * 3
    assert of_workloads(found, "expect")[1:] == [{"allocated": 0, "pending": 1}, {"allocated": 0, "pending": 2}]
    assert found.notes == []


def test_jobs_of_other_api_groups_are_other_kinds(tmp_path: Path) -> None:
    of_volcano = {"apiVersion": "batch.volcano.sh/v1alpha1", "kind": "Job", "metadata": {"name": "v"}, "spec": {}}
    assert made(tmp_path, *KUEUE, *running(), of_volcano).notes == []
