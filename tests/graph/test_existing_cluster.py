"""What the program registers for an existing cluster."""

import json
from pathlib import Path

import pytest

from cluster.fleet import existing_cluster
from components.command import PYTHON
from tests.graph.recording import Configuration, Recording, Secret, run, stack_configuration
from tests.unit.existing_cluster import UID, Cluster, kubeconfig

CLUSTER = "ExistingCluster kwok-dra-dev"
COMMAND = "Command kwok-dra-dev"
FLEET = {"kwok-dra/fleet": "kwok-dra-dev"}
CLASS = "/apis/resource.k8s.io/v1/deviceclasses/kwok.x-k8s.io"


@pytest.fixture
def existing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cluster:
    cluster = Cluster()
    monkeypatch.setattr(existing_cluster, "ApiServer", lambda **_: cluster)
    monkeypatch.setenv("KWOK_WORKDIR", str(tmp_path / "kwok"))
    return cluster


@pytest.fixture
def configuration(tmp_path: Path) -> Configuration:
    stack = stack_configuration("dev")
    stack["kwok-dra:cluster"] = {"existing": {"kubeconfig": str(kubeconfig(tmp_path)), "context": "lab", "allow": True}}
    return stack


@pytest.fixture
def recording(existing: Cluster, configuration: Configuration) -> Recording:
    return run(configuration)


def kept(folder: Path) -> Path:
    return folder / "kwok" / "existing" / f"kwok-dra-dev-{UID[:8]}.yaml"


def test_no_cluster_is_created(recording: Recording) -> None:
    assert recording.of_kind("KwokCluster") == {}
    command = recording.resources[COMMAND]
    assert command.parent == CLUSTER
    assert [command.inputs[verb] for verb in ("create", "update", "delete")] == [
        f"{PYTHON} -m commands.existing_cluster {verb}" for verb in ("create", "update", "delete")
    ]
    assert command.inputs["environment"]["KWOK_DRA_UID"] == UID
    assert command.inputs["environment"]["KWOK_DRA_SERVER"] == "https://lab.example.com"


def test_every_object_is_deleted_individually(recording: Recording) -> None:
    """The deletion of another resource does not include it."""
    assert {found.deleted_with for found in recording.resources.values()} == {""}
    assert all(COMMAND in found.dependencies for found in recording.objects().values())


def test_every_object_has_the_label_of_the_fleet(recording: Recording) -> None:
    objects = recording.objects()
    assert len(objects) == 5
    for found in objects.values():
        assert FLEET.items() <= found.inputs["metadata"]["labels"].items()


def test_pods_select_the_nodes_of_the_stack(recording: Recording) -> None:
    (node,) = recording.of_kind("Node").values()
    (deployment,) = recording.of_kind("Deployment").values()
    assert deployment.inputs["spec"]["template"]["spec"]["nodeSelector"] == FLEET
    assert node.inputs["spec"]["taints"] == [{"key": "kwok.x-k8s.io/node", "value": "fake", "effect": "NoSchedule"}]


def test_only_the_nodes_of_the_stack_are_read(recording: Recording) -> None:
    assert recording.readings
    for kinds in recording.readings:
        assert "Node=/api/v1/nodes?labelSelector=kwok-dra%2Ffleet%3Dkwok-dra-dev" in kinds
        assert "Node" not in kinds


def test_its_own_controllers_may_change_anything_while_workloads_are_waited_for(
    existing: Cluster, configuration: Configuration
) -> None:
    [first] = configuration["kwok-dra:workloads"]
    first |= {"claims": [{key: value for key, value in first["claims"][0].items() if key != "template"}]}
    configuration["kwok-dra:workloads"].append(first | {"name": "b", "after": ["fake-pod"]})
    found = run(configuration)
    assert not found.gives_up
    assert json.loads(found.resources["Command fake-pod"].inputs["stdin"])["KWOK_DRA_ALONE"] is None


def test_the_kubeconfig_of_one_context_is_a_secret(recording: Recording, tmp_path: Path) -> None:
    inputs = recording.resources["kubernetes kwok-dra-dev"].inputs
    assert isinstance(inputs["kubeconfig"], Secret)
    assert "prod" not in str(inputs["kubeconfig"].value)
    assert recording.resources["kubernetes kwok-dra-dev"].dependencies == {COMMAND}
    assert kept(tmp_path).stat().st_mode & 0o777 == 0o600
    assert kept(tmp_path).parent.stat().st_mode & 0o777 == 0o700
    assert [entry["name"] for entry in json.loads(kept(tmp_path).read_text())["contexts"]] == ["lab"]
    assert "secret" not in json.dumps(recording.resources[COMMAND].inputs)
    outputs = recording.outputs["Stack kwok-dra-dev"]
    assert outputs["clusterName"] == "lab"
    assert outputs["kubeconfigPath"] == str(kept(tmp_path))
    assert isinstance(outputs["kubeconfig"], Secret)


def test_an_existing_class_is_not_created(existing: Cluster, configuration: Configuration) -> None:
    existing.has(CLASS, {"selectors": [{"cel": {"expression": "device.driver == 'gpu.kwok.x-k8s'"}}]})
    assert run(configuration).of_kind("DeviceClass") == {}


def test_batches_get_the_label_of_the_fleet(existing: Cluster, configuration: Configuration) -> None:
    configuration["kwok-dra:nodePools"][0]["provisioning"] = "bulk"
    batch = run(configuration).resources["Command kwok-node-batch-0"]
    assert batch.deleted_with == ""
    written = json.loads(batch.inputs["environment"]["KWOK_DRA_POOL"])
    assert FLEET.items() <= written["labels"].items()


def test_a_cluster_that_stops_answering(existing: Cluster, configuration: Configuration, tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"the cluster of context lab in .*user\.yaml no longer answers"):
        run(configuration, objects=None)


def test_kubectl_is_needed(existing: Cluster, configuration: Configuration, programs: Path) -> None:
    (programs / "kubectl").unlink()
    (programs / "kwokctl").unlink()
    with pytest.raises(Exception, match="kubectl not found on PATH"):
        run(configuration)


def test_a_stack_does_not_move_from_its_own_to_an_existing_cluster(
    existing: Cluster, configuration: Configuration, tmp_path: Path
) -> None:
    own = tmp_path / "kwok" / "clusters" / "kwok-dra-dev" / "kubeconfig.yaml"
    own.parent.mkdir(parents=True)
    own.touch()
    recording = Recording()
    with pytest.raises(Exception, match="this stack's objects are still in the stack's own cluster"):
        run(configuration, recording=recording)
    assert recording.objects() == {}


def test_a_stack_does_not_move_from_an_existing_to_its_own_cluster(recording: Recording, existing: Cluster) -> None:
    again = Recording()
    with pytest.raises(Exception, match="this stack's objects are still in an existing cluster"):
        run(stack_configuration("dev"), recording=again)
    assert again.objects() == {}
