"""The checks of an existing cluster before a stack creates a fleet in it."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.api.api_server import ApiServer, UnreachableError
from cluster.fleet import existing_cluster
from tests.unit.existing_cluster import SERVED, UID, Cluster, kubeconfig, metrics
from topology.checks.validation import ConfigurationError, Look, load
from topology.objects.slices import resource_slices
from topology.schema.stack import Reached, Topology

Configuration = dict[str, Any]

OURS = {"kwok-dra/fleet": "kwok-dra-dev"}
CLASSES = "/apis/resource.k8s.io/v1/deviceclasses"
CLASS_SPEC = {"selectors": [{"cel": {"expression": "device.driver == 'gpu.kwok.x-k8s'"}}]}


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    return use(Cluster(), monkeypatch)


def use(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """Connect the program to this cluster, whatever the kubeconfig says."""
    monkeypatch.setattr(existing_cluster, "ApiServer", lambda **_: cluster)
    return cluster


@pytest.fixture
def configuration(dev: Configuration, tmp_path: Path) -> Configuration:
    dev["cluster"] = {
        "name": "kwok-dra-dev",
        "existing": {"kubeconfig": kubeconfig(tmp_path).name, "context": "lab", "allow": True},
    }
    return dev


def problems(configuration: Configuration, folder: Path) -> list[str]:
    with pytest.raises(ConfigurationError) as raised:
        load(configuration, folder, existing_cluster.look)
    return [f"{found.path}: {found.message}" for found in raised.value.problems]


def problem(configuration: Configuration, folder: Path) -> str:
    (found,) = problems(configuration, folder)
    return found


def loaded(configuration: Configuration, folder: Path) -> Topology:
    return load(configuration, folder, existing_cluster.look)


# The cluster.


def test_the_cluster_is_read_and_not_changed(cluster: Cluster, configuration: Configuration, tmp_path: Path) -> None:
    topology = loaded(configuration, tmp_path)
    found = topology.cluster.existing
    assert isinstance(found, Reached)
    assert (found.uid, found.context, topology.cluster.kube_version) == (UID, "lab", "1.37.2")
    assert found.content["clusters"][0]["cluster"]["server"] == "https://lab.example.com"
    assert topology.workloads[0].node_selector == OURS
    assert cluster.written == []


@pytest.mark.parametrize("version", ["v1.34.1-eks-113cf36", "v1.35.2-gke.1485000", "v1.36.0+k3s1"])
def test_versions_of_distributions(
    monkeypatch: pytest.MonkeyPatch, configuration: Configuration, tmp_path: Path, version: str
) -> None:
    use(Cluster(version), monkeypatch)
    assert loaded(configuration, tmp_path).cluster.minor == int(version[3:5])


def test_an_unsupported_version(monkeypatch: pytest.MonkeyPatch, configuration: Configuration, tmp_path: Path) -> None:
    use(Cluster("v1.33.4"), monkeypatch)
    assert problem(configuration, tmp_path) == (
        "cluster.existing: the cluster runs Kubernetes v1.33.4; this program supports 1.34 to 1.38"
    )


@pytest.mark.parametrize("allow", [False, None])
def test_the_cluster_must_be_allowed(
    cluster: Cluster, configuration: Configuration, tmp_path: Path, allow: bool | None
) -> None:
    configuration["cluster"]["existing"].pop("allow")
    if allow is not None:
        configuration["cluster"]["existing"]["allow"] = allow
    found = problem(configuration, tmp_path)
    assert found == (
        "cluster.existing.allow: must be true before the stack creates anything in context lab, "
        "https://lab.example.com: set it once you are sure that this cluster may have fake nodes "
        "(docs/existing-clusters.md)"
    )
    assert cluster.asked == []


def test_the_context_must_exist(cluster: Cluster, configuration: Configuration, tmp_path: Path) -> None:
    configuration["cluster"]["existing"]["context"] = "lba"
    found = problem(configuration, tmp_path)
    assert found.startswith(f"cluster.existing.context: there is no context 'lba' in {tmp_path}/user.yaml")
    assert found.endswith("Name one of lab, prod")
    assert cluster.asked == []


def test_the_kubeconfig_must_exist(configuration: Configuration, tmp_path: Path) -> None:
    configuration["cluster"]["existing"]["kubeconfig"] = "gone"
    assert problem(configuration, tmp_path).startswith(f"cluster.existing.kubeconfig: {tmp_path}/gone cannot be read")


def test_a_kubeconfig_in_the_home_directory(
    cluster: Cluster, configuration: Configuration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    configuration["cluster"]["existing"]["kubeconfig"] = "~/user.yaml"
    assert loaded(configuration, Path("/"))


def test_a_cluster_that_does_not_answer(cluster: Cluster, configuration: Configuration, tmp_path: Path) -> None:
    cluster.before[""] = lambda: UnreachableError("connection refused")
    assert problem(configuration, tmp_path) == (
        "cluster.existing: the cluster of context lab, https://lab.example.com, does not answer: connection refused"
    )


def test_a_refused_request(cluster: Cluster, configuration: Configuration, tmp_path: Path) -> None:
    cluster.objects.pop("/api/v1/namespaces/kube-system")
    assert problem(configuration, tmp_path) == (
        "cluster.existing: the cluster of context lab, https://lab.example.com, refuses a request: "
        "/api/v1/namespaces/kube-system not found"
    )


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("runtime", "binary"),
        ("tuning", "fleet"),
        ("kubeVersion", "1.37.2"),
        ("kubeFeatureGates", {}),
        ("kubeRuntimeConfig", {}),
        ("kubeApiserverPort", 6443),
    ],
)
def test_keys_that_configure_a_cluster_are_refused(
    configuration: Configuration, tmp_path: Path, key: str, value: object
) -> None:
    configuration["cluster"][key] = value
    assert problem(configuration, tmp_path) == (
        f"cluster: has {key} beside existing, but cannot configure an existing cluster: remove {key}"
    )


# Served APIs and gates.


def test_apis_that_are_not_served(
    monkeypatch: pytest.MonkeyPatch, configuration: Configuration, tmp_path: Path
) -> None:
    use(Cluster(served=("apps/v1", "resource.k8s.io/v1beta2")), monkeypatch)
    assert problem(configuration, tmp_path).startswith(
        "cluster.existing: the cluster does not serve resource.k8s.io/v1,"
    )


def test_an_older_configured_api(cluster: Cluster, configuration: Configuration, tmp_path: Path) -> None:
    configuration["cluster"]["resourceApi"] = "v1beta1"
    assert "does not serve resource.k8s.io/v1beta1, which cluster.resourceApi needs" in problem(configuration, tmp_path)


@pytest.mark.parametrize("served", [True, False])
def test_an_api_that_a_version_has_removed(
    monkeypatch: pytest.MonkeyPatch, configuration: Configuration, tmp_path: Path, served: bool
) -> None:
    """The cluster decides: an API server can serve it for one more release."""
    more = ("resource.k8s.io/v1beta1",) if served else ()
    use(Cluster("v1.38.0-beta.0", served=(*SERVED, *more)), monkeypatch)
    written = {"apiVersion": "resource.k8s.io/v1beta1", "kind": "DeviceClass", "metadata": {"name": "own"}}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(written))
    configuration["manifests"] = [{"name": "m", "files": ["own.yaml"]}]
    configuration["cluster"]["resourceApi"] = "v1beta1"
    if served:
        assert loaded(configuration, tmp_path).cluster.minor == 38
    else:
        said = problem(configuration, tmp_path)
        assert said.startswith("cluster.existing: the cluster does not serve resource.k8s.io/v1beta1, which")


def with_lists(configuration: Configuration) -> Configuration:
    attributes = {"nics": {"strings": ["a", "b"]}}
    configuration["nodePools"][0]["attributes"] = attributes
    return configuration


@pytest.mark.parametrize(
    ("said", "is_refused"),
    [
        (metrics(DRAListTypeAttributes=0), True),
        (metrics(DRAListTypeAttributes=1), False),
        (metrics(Another=1), True),
        (None, False),  # a user who may not read the gates tries
    ],
)
def test_gates_that_are_off(
    monkeypatch: pytest.MonkeyPatch, configuration: Configuration, tmp_path: Path, said: str | None, is_refused: bool
) -> None:
    use(Cluster(metrics=said), monkeypatch)
    if not is_refused:
        assert loaded(with_lists(configuration), tmp_path)
        return
    found = problem(with_lists(configuration), tmp_path)
    assert found.startswith("nodePools[0]: uses list attributes, which needs the feature gate DRAListTypeAttributes ")


def test_a_feature_that_a_version_does_not_have(
    monkeypatch: pytest.MonkeyPatch, configuration: Configuration, tmp_path: Path
) -> None:
    use(Cluster("v1.35.1"), monkeypatch)
    assert problem(with_lists(configuration), tmp_path) == (
        "nodePools[0]: uses list attributes, which Kubernetes 1.35.1 does not have: use a cluster with 1.36 or newer"
    )


@pytest.mark.parametrize(
    ("fault", "model"),
    [({"notReady": True}, {}), (None, {"bindingConditions": ["a"], "bindingFailureConditions": ["b"]})],
)
def test_faults_that_need_the_stages_of_the_stack(
    cluster: Cluster, configuration: Configuration, tmp_path: Path, fault: Configuration | None, model: Configuration
) -> None:
    pool = configuration["nodePools"][0]
    pool["faults"] = [fault] if fault else []
    pool["gpu"] = {"driver": "gpu.kwok.x-k8s", **model} if model else pool["gpu"]
    found = problems(configuration, tmp_path)
    assert any(
        "a cluster that the stack creates, where KWOK plays the stack's Stages, but the cluster is existing" in x
        for x in found
    )


# Existing objects.

POOL = "nodePools[0]"


@pytest.mark.parametrize(
    ("path", "spec", "said"),
    [
        ("/api/v1/nodes/kwok-node-0", {}, f"{POOL}: Node kwok-node-0 already"),
        ("/apis/apps/v1/namespaces/default/deployments/fake-pod", {}, "workloads[0]: Deployment fake-pod already"),
        (
            "/apis/resource.k8s.io/v1/namespaces/default/resourceclaimtemplates/single-gpu",
            {},
            "workloads[0]: ResourceClaimTemplate single-gpu already",
        ),
        (
            "/apis/resource.k8s.io/v1/resourceslices/a",
            {"nodeName": "kwok-node-0"},
            f"{POOL}: ResourceSlice a already",
        ),
        ("/apis/resource.k8s.io/v1/resourceslices/a", {"nodeName": "real-0"}, None),
        ("/apis/apps/v1/namespaces/other/deployments/fake-pod", {}, None),
        ("/api/v1/nodes/kwok-node-00", {}, None),
    ],
)
@pytest.mark.parametrize("labels", [{}, {"kwok-dra/fleet": "another"}, OURS])
def test_names_that_are_taken(
    cluster: Cluster,
    configuration: Configuration,
    tmp_path: Path,
    path: str,
    spec: Configuration,
    said: str | None,
    labels: dict[str, str],
) -> None:
    cluster.has(path, spec, labels=labels)
    if said is None or labels == OURS:
        assert loaded(configuration, tmp_path)
        return
    found = problem(configuration, tmp_path)
    assert found == f"{said} exists in the cluster, and this stack did not create it: choose another name"
    assert cluster.written == []


def test_a_slice_of_the_same_name(cluster: Cluster, configuration: Configuration, tmp_path: Path) -> None:
    (pool,) = loaded(configuration, tmp_path).node_pools
    name = resource_slices(pool, "kwok-node-0")[0]["metadata"]["name"]
    cluster.has(f"/apis/resource.k8s.io/v1/resourceslices/{name}", {"nodeName": "real-0"})
    found = problem(configuration, tmp_path)
    assert found.startswith(f"{POOL}: ResourceSlice ") and "already exists in the cluster" in found


def test_a_namespace_that_is_taken(cluster: Cluster, configuration: Configuration, tmp_path: Path) -> None:
    configuration["workloads"][0]["namespace"] = "team"
    cluster.has("/api/v1/namespaces/team")
    assert problem(configuration, tmp_path).startswith("workloads: Namespace team already exists in the cluster")


def test_at_most_three_names_are_listed(cluster: Cluster, configuration: Configuration, tmp_path: Path) -> None:
    configuration["nodePools"][0]["nodes"] = 20
    for number in range(20):
        cluster.has(f"/api/v1/nodes/kwok-node-{number}")
    found = problem(configuration, tmp_path)
    assert "Node kwok-node-0, Node kwok-node-1, Node kwok-node-10 and 17 more already exist in the cluster" in found


@pytest.mark.parametrize("kind", ["ConfigMap", "Own"])
def test_objects_of_manifests(cluster: Cluster, configuration: Configuration, tmp_path: Path, kind: str) -> None:
    """Kinds that the cluster does not know come with their CRD."""
    found = {"apiVersion": "v1", "kind": kind, "metadata": {"name": "a", "namespace": "kube-public"}}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(found))
    configuration["manifests"] = [{"name": "own", "files": ["own.yaml"]}]
    cluster.has("/api/v1/namespaces/kube-public/configmaps/a")
    if kind == "Own":
        assert loaded(configuration, tmp_path)
        return
    said = "manifests[0].files[0]: ConfigMap kube-public/a already exists in the cluster"
    assert problem(configuration, tmp_path).startswith(said)
    cluster.has("/api/v1/namespaces/kube-public/configmaps/a", labels=OURS)
    assert loaded(configuration, tmp_path)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("clusterqueues/a", "queues[0]: ClusterQueue a"),
        ("namespaces/default/localqueues/a", "queues[0]: LocalQueue a"),
        ("resourceflavors/small", "queues[0].flavors[1]: ResourceFlavor small"),
        ("namespaces/other/localqueues/a", None),
        ("clusterqueues/small", None),
    ],
)
@pytest.mark.parametrize("labels", [{}, OURS])
def test_queues_that_are_taken(
    cluster: Cluster,
    configuration: Configuration,
    tmp_path: Path,
    path: str,
    said: str | None,
    labels: dict[str, str],
) -> None:
    kinds = {"ClusterQueue": False, "LocalQueue": True, "ResourceFlavor": False}
    listed = [{"name": f"{kind.lower()}s", "kind": kind, "namespaced": inside} for kind, inside in kinds.items()]
    cluster.objects["/apis/kueue.x-k8s.io/v1beta2"] = {"resources": listed}
    flavors = [{"name": name, "quotas": {"nvidia.com/gpu": 4}} for name in ("big", "small")]
    configuration["queues"] = [{"name": "a", "flavors": flavors}]
    cluster.has(f"/apis/kueue.x-k8s.io/v1beta2/{path}", labels=labels)
    if said is None or labels == OURS:
        assert loaded(configuration, tmp_path)
        return
    assert problem(configuration, tmp_path) == (
        f"{said} already exists in the cluster, and this stack did not create it: choose another name"
    )


def test_the_class_of_a_real_driver_is_used(cluster: Cluster, configuration: Configuration, tmp_path: Path) -> None:
    cluster.has(f"{CLASSES}/kwok.x-k8s.io", CLASS_SPEC)
    assert loaded(configuration, tmp_path).device_classes == []


def test_a_class_of_the_stack_stays(cluster: Cluster, configuration: Configuration, tmp_path: Path) -> None:
    cluster.has(f"{CLASSES}/kwok.x-k8s.io", {"selectors": []}, labels=OURS)
    assert [entry.name for entry in loaded(configuration, tmp_path).device_classes] == ["kwok.x-k8s.io"]


def test_a_different_class_with_the_same_name(cluster: Cluster, configuration: Configuration, tmp_path: Path) -> None:
    cluster.has(f"{CLASSES}/kwok.x-k8s.io", {"extendedResourceName": "a/b"})
    found = problem(configuration, tmp_path)
    assert found.startswith(
        "deviceClasses: DeviceClass kwok.x-k8s.io already exists in the cluster, this stack did not create it, and it "
        "differs: it has "
    )
    assert 'it has {"extendedResourceName": "a/b"}, not {"selectors": [{"cel"' in found


def test_pods_that_would_land_on_fake_nodes(cluster: Cluster, configuration: Configuration, tmp_path: Path) -> None:
    template = {"template": {"spec": {"tolerations": [{"operator": "Exists"}]}}}
    cluster.has("/apis/apps/v1/namespaces/kube-system/daemonsets/kube-proxy", template)
    cluster.has("/apis/apps/v1/namespaces/kube-system/daemonsets/ours", template, labels=OURS)
    found = problem(configuration, tmp_path)
    assert found.startswith("cluster.existing: the pods of DaemonSet kube-system/kube-proxy would run on fake nodes")
    configuration["nodePools"] = []
    configuration["workloads"] = []
    assert loaded(configuration, tmp_path)


@pytest.mark.parametrize(
    ("selector", "is_attracted"),
    [
        ({"kubernetes.io/hostname": "kwok-node-1"}, True),
        ({"kubernetes.io/hostname": "kwok-node-2"}, False),
        ({"example.com/place": "of-kwok-node-1"}, True),
    ],
)
def test_pods_that_select_other_nodes_than_the_first(
    cluster: Cluster, configuration: Configuration, tmp_path: Path, selector: dict[str, str], is_attracted: bool
) -> None:
    """The nodes of a pool differ by hostname, by NVLink clique and by placeholders in the labels of their model."""
    node = {"labels": {"example.com/place": "of-{node}"}}
    configuration["nodePools"][0] |= {"nodes": 2, "gpu": {"driver": "gpu.kwok.x-k8s", "node": node}}
    spec = {"tolerations": [{"operator": "Exists"}], "nodeSelector": selector}
    cluster.has("/apis/apps/v1/namespaces/a/daemonsets/agent", {"template": {"spec": spec}})
    if is_attracted:
        assert "the pods of DaemonSet a/agent would run on fake nodes" in problem(configuration, tmp_path)
    else:
        assert loaded(configuration, tmp_path)


POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}
NODE = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "a"}}


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        (POD | {"spec": {"tolerations": 5}}, "spec.tolerations must be a list, but is 5"),
        (POD | {"spec": {"nodeSelector": ["a"]}}, 'spec.nodeSelector must be a mapping, but is ["a"]'),
        (POD | {"spec": {"nodeName": ["a"]}}, 'spec.nodeName must be a string, but is ["a"]'),
        (POD | {"spec": 5}, "spec must be a mapping, but is 5"),
        (POD | {"metadata": 5}, "Pod has no metadata.name: set it to a string"),
        (NODE | {"metadata": 5}, "Node has no metadata.name: set it to a string"),
        (NODE | {"metadata": {"name": "a", "labels": ["a"]}}, 'metadata.labels must be a mapping, but is ["a"]'),
        (NODE | {"metadata": {"name": "a", "annotations": 5}}, "metadata.annotations must be a mapping, but is 5"),
        (NODE | {"spec": [5]}, "spec must be a mapping, but is [5]"),
        (NODE | {"spec": {"taints": 5}}, "spec.taints must be a list, but is 5"),
        (
            {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}, "spec": {"template": 5}},
            "spec.template must be a mapping, but is 5",
        ),
        (
            {
                "apiVersion": "resource.k8s.io/v1",
                "kind": "DeviceTaintRule",
                "metadata": {"name": "a"},
                "spec": {"deviceSelector": {"pool": {}}},
            },
            "spec.deviceSelector.pool must be a string, but is {}",
        ),
    ],
)
@pytest.mark.parametrize("look", [existing_cluster.look, existing_cluster.reach])
def test_fields_of_the_wrong_type(
    cluster: Cluster, configuration: Configuration, tmp_path: Path, manifest: Configuration, message: str, look: Look
) -> None:
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(manifest))
    configuration["manifests"] = [{"name": "own", "files": ["own.yaml"]}]
    with pytest.raises(ConfigurationError) as raised:
        load(configuration, tmp_path, look)
    assert f"manifests[0].files[0]: document 1: {message}" in [
        f"{found.path}: {found.message}" for found in raised.value.problems
    ]


@pytest.mark.parametrize("manifest", [NODE | {"spec": None}, POD | {"spec": {"containers": [], "tolerations": None}}])
def test_fields_without_a_value(
    cluster: Cluster, configuration: Configuration, tmp_path: Path, manifest: Configuration
) -> None:
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(manifest))
    configuration["manifests"] = [{"name": "own", "files": ["own.yaml"]}]
    (found,) = loaded(configuration, tmp_path).manifests[0].objects()
    assert found["spec"].get("taints") or found["spec"]["tolerations"]


def test_all_problems_at_once(cluster: Cluster, configuration: Configuration, tmp_path: Path) -> None:
    cluster.has("/api/v1/nodes/kwok-node-0")
    cluster.has(f"{CLASSES}/kwok.x-k8s.io", {})
    configuration["nodePools"][0]["faults"] = [{"notReady": True}]
    assert [found.partition(":")[0] for found in problems(configuration, tmp_path)] == [
        "deviceClasses",
        "nodePools[0]",
        "nodePools[0].faults[0].notReady",
    ]


def test_a_cluster_that_the_stack_creates_is_not_contacted(dev: Configuration, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ApiServer, "send", None)
    assert load(dev).cluster.existing is None
