"""What the program registers for workloads: shared claims, order, kinds, namespaces, pod groups."""

import json
from typing import Any

import pytest

from components.command import PYTHON
from tests.graph.recording import KUBECONFIG, READING, Configuration, run
from topology.status.evictions import Unfit
from topology.status.workload_progress import Expected

COMMAND = "Command kwok-dra-dev"
SHARED = "SharedObjects shared-objects"
GPU = {"name": "gpu", "deviceClass": "gpu"}
OWN = {"name": "own", "requests": [GPU]}
USE = {"name": "use", "claim": "one"}


def stack(*workloads: Configuration, claims: Any = ()) -> Configuration:
    """Return a configuration with enough devices, and workloads that have a claim of their own by default."""
    return {
        "kwok-dra:deviceClasses": [{"name": "gpu", "selectors": [], "extendedResourceName": "example.com/gpu"}],
        "kwok-dra:nodePools": [{"name": "pool", "gpu": "kwok-l4", "gpusPerNode": 16}],
        "kwok-dra:claims": list(claims),
        "kwok-dra:workloads": [{"claims": [OWN]} | workload for workload in workloads],
    }


def shared(name: str = "one", **values: Any) -> Configuration:
    return {"name": name, "requests": [GPU]} | values


def test_gpus_in_mig_mode_cause_no_warning() -> None:
    """The user sees all warnings of the program in the terminal."""
    pools = [{"name": "pool", "gpu": "h100", "gpusPerNode": 1, "mig": "dynamic"}]
    claims = [{"name": "own", "requests": [GPU | {"deviceClass": "gpu.nvidia.com"}]}]
    assert run({"kwok-dra:nodePools": pools, "kwok-dra:workloads": [{"name": "job", "claims": claims}]}).outputs


def test_shared_objects() -> None:
    """Namespaces, then the claims in them, all before the workloads."""
    admin = shared(namespace="admin", requests=[GPU | {"adminAccess": True}])
    found = run(stack({"name": "job", "namespace": "work"}, claims=[shared(), admin]))
    namespaces = {"Namespace admin", "Namespace work"}
    claims = {"ResourceClaim one", "ResourceClaim admin/one"}
    assert {key for key, entry in found.resources.items() if entry.parent == SHARED} == namespaces | claims
    assert found.resources["Namespace admin"].inputs["metadata"]["labels"] == {
        "resource.kubernetes.io/admin-access": "true"
    }
    devices = {key for key in found.resources if key.split()[0] in ("Node", "ResourceSlice", "DeviceClass")}
    for key in namespaces:
        assert found.resources[key].dependencies >= {COMMAND} | devices
    for key in claims:
        assert found.resources[key].dependencies >= {COMMAND} | devices | namespaces
        assert found.resources[key].replace_on_changes == ["spec"]
        assert found.resources[key].delete_before_replace
    assert found.resources["Deployment job"].dependencies >= namespaces | claims
    assert found.outputs[SHARED] == {"claims": ["one", "one"]}


def test_bare_pods_come_after_the_service_account_of_their_namespace() -> None:
    users = [{"name": "a", "kind": "Pod", "namespace": "work"}, {"name": "b", "kind": "Pod"}]
    found = run(stack(*users))
    accounts = {"ServiceAccount work/default", "ServiceAccount default"}
    assert {key for key in found.resources if key.startswith("ServiceAccount")} == accounts
    # A controller recreates them at once, and the provider might never see them gone.
    assert {key for key, resource in found.resources.items() if resource.retain_on_delete} == accounts
    assert found.resources["ServiceAccount work/default"].dependencies >= {COMMAND, "Namespace work"}
    for pod in ("Pod a-0", "Pod b-0"):
        assert found.resources[pod].dependencies >= accounts


def test_pods_are_replaced_with_the_shared_claim_that_they_use() -> None:
    """The claim stays as long as a pod uses it."""
    users: list[Configuration] = [{"name": "a", "claims": [USE]}, {"name": "b", "claims": [USE, OWN]}, {"name": "c"}]
    users += [{"name": "d", "claims": [USE], "namespace": "else"}]
    found = run(stack(*users, claims=[shared(), shared("two"), shared(namespace="else")]))
    assert {key: entry.replace_with for key, entry in found.resources.items() if key.startswith("Deployment")} == {
        "Deployment a": {"ResourceClaim one"},
        "Deployment b": {"ResourceClaim one", "ResourceClaimTemplate b-own"},
        "Deployment c": {"ResourceClaimTemplate c-own"},
        "Deployment d": {"ResourceClaim else/one"},
    }
    assert set(found.of_kind("ResourceClaimTemplate")) == {"b-own", "c-own"}


PRIORITIES = [{"name": "low", "value": 1}, {"name": "high", "value": 2}]


def test_priority_classes() -> None:
    """They come before all pods; the API lets their values not change, and pods keep the one that they came with."""
    users = [{"name": "a", "priority": "low"}, {"name": "b"}, {"name": "c", "priority": "system-node-critical"}]
    found = run(stack(*users) | {"kwok-dra:priorityClasses": PRIORITIES}).resources
    made = {key: found[key] for key in ("PriorityClass low", "PriorityClass high")}
    for entry in made.values():
        assert entry.parent == SHARED
        assert entry.replace_on_changes == ["value", "preemptionPolicy"]
        assert entry.delete_before_replace
    for name in "abc":
        assert found[f"Deployment {name}"].dependencies >= {*made}
        replaced_with = {f"ResourceClaimTemplate {name}-own"} | ({"PriorityClass low"} if name == "a" else set())
        assert found[f"Deployment {name}"].replace_with == replaced_with


def test_others_may_come_as_soon_as_all_pods_run_that_they_preempt() -> None:
    first = {"name": "a", "priority": "low"}
    second = {"name": "b", "priority": "high", "after": ["a"]}
    configuration = stack(first, second, {"name": "c", "after": ["b"]}) | {"kwok-dra:priorityClasses": PRIORITIES}
    found = run(configuration).resources
    gives_way = [json.loads(found[f"Command {name}"].inputs["stdin"])["KWOK_DRA_GIVES_WAY"] for name in "ab"]
    assert gives_way == [True, False]


def test_names_in_namespaces() -> None:
    """Templates may share a name; a workload keeps its resource name, so that a move to a namespace replaces it."""
    claims = [OWN | {"template": "same"}]
    found = run(stack({"name": "a", "claims": claims}, {"name": "b", "claims": claims, "namespace": "else"}))
    templates = found.of_kind("ResourceClaimTemplate")
    assert {key: entry.inputs["metadata"] for key, entry in templates.items()} == {
        "same": {"name": "same", "namespace": "default"},
        "else/same": {"name": "same", "namespace": "else"},
    }
    assert found.resources["Deployment b"].inputs["metadata"]["namespace"] == "else"
    assert found.resources["Deployment b"].replace_with == {"ResourceClaimTemplate else/same"}


@pytest.mark.parametrize(
    ("kind", "keys"),
    [("Deployment", ["Deployment job"]), ("Job", ["Job job"]), ("Pod", ["Pod job-0", "Pod job-1", "Pod job-2"])],
)
def test_the_object_that_creates_the_pods(kind: str, keys: list[str]) -> None:
    """Pulumi waits only until the object exists, whatever its kind; the status says whether pods run."""
    found = run(stack({"name": "job", "kind": kind, "replicas": 3}))
    parent = "ClaimWorkload job"
    children = {key: entry for key, entry in found.resources.items() if entry.parent == parent}
    assert set(children) == {*keys, "ResourceClaimTemplate job-own"}
    for key in keys:
        annotations = {"pulumi.com/waitFor": "jsonpath={.metadata.uid}"}
        annotations |= {"pulumi.com/patchForce": "true"} if kind == "Pod" else {}
        assert children[key].inputs["metadata"]["annotations"] == annotations
        assert children[key].replace_with == {"ResourceClaimTemplate job-own"}
        assert children[key].delete_before_replace
    claims = found.outputs["Stack kwok-dra-dev"]["claims"]
    assert [(claim["workload"], claim["pod"]) for claim in claims] == [("job", f"job-{index}") for index in range(3)]


def test_workloads_that_come_after_others() -> None:
    """A Command between them ends when the first workload is as expected."""
    first = {"name": "first", "replicas": 2, "expect": {"pending": 0}, "readyTimeoutSeconds": 7}
    found = run(stack({"name": "last", "after": ["middle", "first"]}, first, {"name": "middle", "after": ["first"]}))
    order = ["ResourceClaimTemplate first-own", "Deployment first", "Command first"]
    order += ["ResourceClaimTemplate middle-own", "Deployment middle", "Command middle"]
    order += ["ResourceClaimTemplate last-own", "Deployment last", READING]
    assert [key for key in found.order if key in order] == order
    assert "Command last" not in found.resources  # Nothing comes after it.
    assert found.resources["Command first"].dependencies >= {"Deployment first"}
    for key in ("ResourceClaimTemplate middle-own", "Deployment middle"):
        assert "Command first" in found.resources[key].dependencies
    assert found.resources["Deployment last"].dependencies >= {"Command first", "Command middle"}
    command = found.resources["Command first"]
    assert command.parent == "ClaimWorkload first"
    assert command.inputs["create"] == command.inputs["update"] == f"{PYTHON} -m commands.wait"
    assert (command.deleted_with, command.replacement_trigger) == (COMMAND, "id of kwok-dra-dev")
    assert command.inputs["environment"]["KUBECONFIG"] == KUBECONFIG
    assert [Expected.from_json(entry) for entry in json.loads(command.inputs["stdin"])["KWOK_DRA_EXPECTED"]] == [
        Expected("workloads", "first", (("Deployment", "default", "first"),), 2, 0, 7, 2)
    ]


@pytest.mark.parametrize(
    ("change", "again"),
    [
        ({}, False),
        ({"replicas": 2}, True),
        ({"nodeSelector": {"type": "kwok"}}, True),
        ({"readyTimeoutSeconds": 7}, True),
    ],
)
def test_when_the_wait_is_repeated(change: Configuration, again: bool) -> None:
    def command(**values: Any) -> Configuration:
        return run(stack({"name": "a"} | values, {"name": "b", "after": ["a"]})).resources["Command a"].inputs

    assert (command() != command(**change)) == again


@pytest.mark.parametrize(
    "change",
    [
        {"faults": [{"nodes": [0], "notReady": True}]},
        {"faults": [{"devices": ["gpu-0"], "gone": True}]},
        {"nodes": 3},
    ],
)
def test_the_wait_is_repeated_when_the_fleet_changes(change: Configuration) -> None:
    """It waits for the final result: a pod that will be evicted does not count."""

    def stdin(pool: Configuration) -> Configuration:
        asked = stack({"name": "a"}, {"name": "b", "after": ["a"]})
        asked["kwok-dra:nodePools"] = [asked["kwok-dra:nodePools"][0] | {"nodes": 2} | pool]
        found: Configuration = json.loads(run(asked).resources["Command a"].inputs["stdin"])
        return found

    assert stdin({}) == stdin({})
    assert stdin({})["KWOK_DRA_STACK"] != stdin(change)["KWOK_DRA_STACK"]
    unfit = Unfit(*stdin(change)["KWOK_DRA_UNFIT"])
    assert unfit.not_ready == (["pool-0"] if "notReady" in str(change) else [])


@pytest.mark.parametrize(
    ("workloads", "alone"),
    [
        ([{"name": "a"}, {"name": "b", "after": ["a"]}, {"name": "c", "after": ["b"]}], {"a": True, "b": True}),
        # `x` may be changed at any time; `a` and `b` at the same time.
        ([{"name": "a"}, {"name": "b", "after": ["a"]}, {"name": "x"}], {"a": False}),
        ([{"name": "a"}, {"name": "b"}, {"name": "c", "after": ["a", "b"]}], {"a": False, "b": False}),
        (
            [
                {"name": "a"},
                *({"name": name, "after": ["a"]} for name in ("b", "c")),
                {"name": "d", "after": ["b", "c"]},
                {"name": "e", "after": ["d"]},
            ],
            {"a": True, "b": False, "c": False, "d": True},
        ),
    ],
)
def test_whether_anything_else_changes_the_cluster_during_a_wait(
    workloads: list[Configuration], alone: dict[str, bool]
) -> None:
    found = run(stack(*workloads)).resources
    waits = {key.split(" ")[1]: entry.inputs["stdin"] for key, entry in found.items() if "commands.wait" in str(entry)}
    assert {name: json.loads(text)["KWOK_DRA_ALONE"] for name, text in waits.items()} == alone
    assert run(stack(*workloads)).gives_up


def test_a_workload_can_come_after_one_without_pods() -> None:
    found = run(stack({"name": "a", "kind": "Pod", "replicas": 0}, {"name": "b", "after": ["a"]}))
    assert "ResourceClaimTemplate a-own" in found.resources
    assert "Command a" in found.resources["Deployment b"].dependencies


def test_extended_resources_need_no_template() -> None:
    containers = [{"name": "x", "resources": {"example.com/gpu": 1}}]
    found = run(stack({"name": "job", "claims": [], "containers": containers, "replicas": 0}))
    assert not found.of_kind("ResourceClaimTemplate")
    assert found.resources["Deployment job"].replace_with == set()


GROUP: Configuration = {"name": "a", "replicas": 2, "podGroup": {"minCount": 2, "claims": ["own"]}}


def test_a_group_comes_before_its_pods_and_is_replaced_with_its_claims() -> None:
    claims = [OWN, USE]
    found = run(stack(GROUP | {"claims": claims}, {"name": "b"}, claims=[shared()]))
    group = found.resources["PodGroup a"]
    assert group.inputs["apiVersion"] == "scheduling.k8s.io/v1beta1"
    assert group.parent == "ClaimWorkload a"
    assert group.dependencies >= {COMMAND, "ResourceClaimTemplate a-own", "ResourceClaim one"}
    assert group.replace_with == {"ResourceClaimTemplate a-own", "ResourceClaim one"}
    assert (group.replace_on_changes, group.delete_before_replace) == (["spec"], True)
    pods = found.resources["Deployment a"]
    assert "PodGroup a" in pods.dependencies
    assert pods.replace_with == {"PodGroup a", "ResourceClaimTemplate a-own", "ResourceClaim one"}
    assert set(found.of_kind("PodGroup")) == {"a"}


def test_pods_come_after_the_policy_that_adds_them_to_their_group() -> None:
    found = run(stack(GROUP))
    policies = {"MutatingAdmissionPolicy pod-groups", "MutatingAdmissionPolicyBinding pod-groups"}
    command = found.resources["Command pod-groups"]
    assert command.parent == SHARED
    assert command.dependencies >= policies
    assert "kubectl run try --image fake-image --labels pod-group=try --dry-run=server" in command.inputs["create"]
    assert command.inputs["environment"]["KUBECONFIG"] == KUBECONFIG
    assert (command.deleted_with, command.replacement_trigger) == (COMMAND, "id of kwok-dra-dev")
    assert found.resources["Deployment a"].dependencies >= {*policies, "Command pod-groups"}
    assert not any("pod-groups" in key for key in run(stack({"name": "a"})).resources)


def test_a_bare_pod_that_joins_a_group_is_replaced() -> None:
    found = run(stack(GROUP | {"kind": "Pod"}))
    assert found.resources["Pod a-0"].replace_on_changes == ["metadata.labels"]


def test_a_group_that_moves_to_another_namespace_is_replaced() -> None:
    """Otherwise it would keep its devices until the end of the update, which waits for the new group's devices."""
    assert run(stack(GROUP | {"namespace": "else"})).resources["PodGroup a"].replace_with == {
        "ResourceClaimTemplate else/a-own"
    }


def test_the_wait_is_repeated_when_the_group_changes() -> None:
    def command(count: int) -> Configuration:
        group = GROUP | {"podGroup": {"minCount": count}}
        return run(stack(group, {"name": "b", "after": ["a"]})).resources["Command a"].inputs

    assert command(1) == command(1)
    assert command(1) != command(2)
