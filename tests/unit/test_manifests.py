"""The user's own manifests: how files are read, what the cluster needs for them, and their errors."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from topology.checks.validation import ConfigurationError, load
from topology.objects.namespaces import service_accounts, service_accounts_of
from topology.schema.stack import Topology

Object = dict[str, Any]
FILE = "manifests[0].files[0]"


def named(kind: str, name: str, version: str = "v1", **content: Any) -> Object:
    """Return an object, in a `namespace` if it is given."""
    namespace = {"namespace": content.pop("namespace")} if "namespace" in content else {}
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name} | namespace} | content


def claims(devices: Object, **more: Any) -> Object:
    """Return a ResourceClaim."""
    return named("ResourceClaim", "c", "resource.k8s.io/v1", spec={"devices": devices} | more)


def pod(name: str = "p", template: str = "", claim: str = "", **content: Any) -> Object:
    """Return a bare pod with a claim."""
    source = {"resourceClaimTemplateName": template} if template else {"resourceClaimName": claim}
    claims = {"resourceClaims": [{"name": "c"} | source]} if template or claim else {}
    spec = {"containers": [{"name": "x"}]} | claims | content.pop("spec", {})
    return named("Pod", name, spec=spec, **content)


def deployment(name: str = "d", **spec: Any) -> Object:
    return named("Deployment", name, "apps/v1", spec={"template": {"spec": {"containers": [{"name": "x"}]} | spec}})


def template(name: str = "t", device_class: str = "gpu", version: str = "v1", **content: Any) -> Object:
    request = content.pop("request", {"exactly": {"deviceClassName": device_class}})
    spec = {"spec": {"devices": {"requests": [{"name": "r"} | request]}}}
    return named("ResourceClaimTemplate", name, f"resource.k8s.io/{version}", spec=spec, **content)


def stack(*manifests: Object, **values: Any) -> Object:
    """Return a stack with a pool and these entries, by default with the files `a.yaml`, `b.yaml` and `c.yaml`."""
    return {
        "cluster": {"name": "x"},
        "deviceClasses": [{"name": "gpu"}],
        "nodePools": [{"name": "pool", "nodes": 2, "gpu": {"driver": "d"}}],
        "manifests": [
            {"name": f"m{index}", "files": [f"{'abc'[index]}.yaml"]} | entry for index, entry in enumerate(manifests)
        ],
        **values,
    }


@pytest.fixture
def write(tmp_path: Path) -> Any:
    """Return a function that writes a file of objects."""

    def write(name: str, *objects: object) -> Path:
        (tmp_path / name).write_text(yaml.safe_dump_all(objects) if objects else "")
        return tmp_path

    return write


def test_documents(tmp_path: Path) -> None:
    """A file can have several, some of them Lists or empty; a date is a string, as in Kubernetes."""
    (tmp_path / "a.yaml").write_text(
        "# A comment.\n---\n---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {day: 2026-01-01}}\n---\n"
        "apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: Secret, metadata: {name: b}}]\n"
    )
    (tmp_path / "b.yaml").write_text("{apiVersion: v1, kind: Secret, metadata: {name: c}}")
    (entry,) = load(stack({"files": ["a.yaml", "b.yaml"]}), tmp_path).manifests
    assert [(number, document.place) for number, document in entry.documents()] == [
        (0, "document 2"),
        (0, "document 3, item 1"),
        (1, "document 1"),
    ]
    first, *others = entry.objects()
    assert first == named("ConfigMap", "a", data={"day": "2026-01-01"})
    assert [other["metadata"]["name"] for other in others] == ["b", "c"]
    assert entry.makers() == []


def test_order(write: Any) -> None:
    """Namespaces and definitions first, objects that create pods last; otherwise as in the files."""
    own = named("Job", "own", "batch.example.org/v1")
    definition = named(
        "CustomResourceDefinition", "crd", "apiextensions.k8s.io/v1", spec={"group": "batch.example.org"}
    )
    folder = write("a.yaml", pod("p", template="t"), own, template(), definition, named("Namespace", "n"))
    folder = write("b.yaml", deployment(), named("Service", "s"), pod("q", namespace="n"))
    (entry,) = load(stack({"files": ["a.yaml", "b.yaml"]}), folder).manifests
    assert [found["metadata"]["name"] for found in entry.objects()] == ["crd", "n", "own", "t", "s", "p", "d", "q"]
    assert entry.makers() == [("Pod", "default", "p"), ("Deployment", "default", "d"), ("Pod", "n", "q")]


def test_a_kind_with_the_name_of_a_built_in_one_has_its_group(write: Any) -> None:
    tasks = {"tasks": [{"template": {"spec": {"containers": [{"name": "c"}]}}}]}
    definition = named("CustomResourceDefinition", "crd", "apiextensions.k8s.io/v1", spec={"group": "batch.volcano.sh"})
    own = named("Job", "own", "batch.volcano.sh/v1alpha1", spec=tasks)
    (entry,) = load(stack({"files": ["a.yaml"]}), write("a.yaml", definition, own)).manifests
    assert entry.makers() == [("Job.batch.volcano.sh", "default", "own")]


def accounts(topology: Topology) -> tuple[list[str], list[list[str]]]:
    """Return the namespaces of the service accounts created before all entries, and of those created with each."""

    def names(objects: list[Object]) -> list[str]:
        return [entry["metadata"]["namespace"] for entry in objects]

    own = [names(service_accounts_of(entry, topology)) for entry in topology.manifests]
    return names(service_accounts(topology)), own


def test_bare_pods_need_the_service_account_of_their_namespace(write: Any) -> None:
    folder = write("a.yaml", pod(), named("Namespace", "n"), named("Namespace", "m"), pod(namespace="m"))
    write("b.yaml", pod(namespace="n"), deployment(), pod("kube", namespace="kube-public"))
    assert accounts(load(stack({}, {"after": ["m0"]}), folder)) == (["default", "kube-public"], [["m", "n"], []])
    write("a.yaml", named("ServiceAccount", "default"), pod())
    assert accounts(load(stack({}), folder)) == ([], [[]])


TAINTED = named("DeviceTaintRule", "r", "resource.k8s.io/v1beta2", spec={"taint": {"key": "x", "effect": "NoExecute"}})
SLICE = {"driver": "d", "pool": {"name": "n"}, "nodeName": "n"}


def slices(**spec: Any) -> Object:
    return named("ResourceSlice", "s", "resource.k8s.io/v1", spec=SLICE | spec)


@pytest.mark.parametrize(
    ("manifest", "gates", "apis"),
    [
        (template(), [], []),
        (template(version="v1beta1", request={"deviceClassName": "gpu"}), [], ["v1beta1"]),
        (template(version="v1beta2"), [], ["v1beta2"]),
        (
            template(request={"exactly": {"deviceClassName": "gpu", "tolerations": [{"operator": "Exists"}]}}),
            ["DRADeviceTaints"],
            ["v1alpha3"],
        ),
        (
            template(request={"exactly": {"deviceClassName": "gpu", "capacity": {"requests": {"memory": "1Gi"}}}}),
            ["DRAConsumableCapacity"],
            [],
        ),
        (slices(devices=[{"name": "x", "allowMultipleAllocations": True}]), ["DRAConsumableCapacity"], []),
        (slices(sharedCounters=[{"name": "x"}]), ["DRAPartitionableDevices"], []),
        (slices(devices=[{"name": "x", "taints": [{"key": "x"}]}]), ["DRADeviceTaints"], ["v1alpha3"]),
        (slices(devices=[{"name": "x", "taints": []}]), [], []),
        (
            named("DeviceClass", "e", "resource.k8s.io/v1", spec={"extendedResourceName": "example.com/x"}),
            ["DRAExtendedResource"],
            [],
        ),
        (
            pod(
                spec={
                    "containers": [
                        {"name": "x", "resources": {"limits": {"deviceclass.resource.kubernetes.io/gpu": 1}}}
                    ]
                }
            ),
            ["DRAExtendedResource"],
            [],
        ),
        (named("ControllerRevision", "t", "apps/v1", spec={"taints": ["x"], "tolerations": ["x"]}), [], []),
    ],
)
def test_gates_and_apis(manifest: Object, gates: list[str], apis: list[str], write: Any) -> None:
    """The gates and APIs that a manifest needs in Kubernetes 1.34; later they are on by default."""
    cluster = load(stack({}, cluster={"name": "x", "kubeVersion": "1.34.0"}), write("a.yaml", manifest)).cluster
    assert [gate for gate in cluster.kube_feature_gates if gate != "DynamicResourceAllocation"] == gates
    assert list(cluster.kube_runtime_config) == [f"resource.k8s.io/{version}" for version in apis]


def test_the_api_of_device_taint_rules_is_served(write: Any) -> None:
    cluster = load(stack({}, cluster={"name": "x", "kubeVersion": "1.36.3"}), write("a.yaml", TAINTED)).cluster
    assert cluster.kube_feature_gates == {"DRADeviceTaintRules": True}
    assert cluster.kube_runtime_config == {"resource.k8s.io/v1beta2": True}


def problems(configuration: Object, folder: Path) -> list[str]:
    """Return the problems, as `key: message`."""
    with pytest.raises(ConfigurationError) as raised:
        load(configuration, folder)
    return [f"{problem.path}: {problem.message}" for problem in raised.value.problems]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "the file 'a.yaml' cannot be read: No such file or directory"),
        ("", "'a.yaml' contains no Kubernetes objects: remove it"),
        ("a: [", "'a.yaml' is not YAML: while parsing a flow node"),
        ("[" * 2_000, "'a.yaml' is nested too deeply"),
        ("&a [*a]", "'a.yaml' has an invalid value: Circular reference detected"),
        ("a: .nan", "'a.yaml' has an invalid value: Out of range float values are not JSON compliant"),
        (
            "a: !!binary aGk=",
            "'a.yaml' has an invalid value: Object of type bytes is not JSON serializable",
        ),
        ("- x", "document 1: is not a Kubernetes object: it must be a mapping with apiVersion, kind and metadata"),
        ("a: b", "document 1: has no apiVersion and no kind, which every Kubernetes object needs"),
        ("---\n{apiVersion: v1, kind: Pod}", "document 1: Pod has no metadata.name: set it to a string"),
        (
            "{apiVersion: v1, kind: Pod, metadata: {name: 5}}",
            "document 1: Pod has no metadata.name: set it to a string",
        ),
        (
            "{apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: Pod, metadata: {generateName: x}}]}",
            "document 1, item 1: Pod has a generateName, but the stack must know the names of its objects: use "
            "metadata.name instead",
        ),
    ],
)
def test_invalid_files_and_documents(content: str | None, message: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "a.yaml").write_text(content)
    (found,) = problems(stack({}), tmp_path)
    assert found.startswith(f"{FILE}: {message}")


def test_files_outside_the_project(write: Any, tmp_path: Path) -> None:
    write("a.yaml", deployment())
    (tmp_path / "folder").mkdir()
    found = problems(stack({"files": ["../a.yaml", 5]}), tmp_path / "folder")
    assert found == [
        f"{FILE}: '../a.yaml' is outside the project's folder: move the file into it",
        "manifests[0].files[1]: must be the path of a file, but is 5",
    ]


WORKLOAD = {"name": "w", "claims": [{"name": "c", "requests": [{"name": "r", "deviceClass": "gpu"}]}]}
DEFINITION = named("CustomResourceDefinition", "c", "apiextensions.k8s.io/v1", spec={"group": "example.org"})
SLIP = {"name": "r", "exactly": {"deviceClassName": "gpu", "selectors": [{"expression": "true"}]}}
TAKEN = "document 1: the stack already creates"
OUT = "remove it from the file, or from there"
NO_TOLERATION = "do not tolerate the taints of any node"
KEPT_OFF = (
    f"document 1: pods of Pod p {NO_TOLERATION}: pool pool has gpu=x:NoSchedule. Give the pods the toleration "
    "{key: gpu, operator: Exists}, or set taints: [] for pool pool, under kwok-dra:nodePools"
)


@pytest.mark.parametrize(
    ("objects", "values", "message"),
    [
        (
            [pod(), pod()],
            {},
            "document 2: Pod p is already in manifests[0].files[0], document 1: remove one of them",
        ),
        ([pod(), pod(namespace="default")], {}, "document 2: Pod p is already in manifests[0].files[0], document 1"),
        (
            [named("Workload", "w", "kueue.x-k8s.io/v1beta2")],
            {},
            "document 1: Workload w is of the API group kueue.x-k8s.io, which is not part of Kubernetes: add the "
            "CustomResourceDefinition of its kind to the files",
        ),
        (
            [named("Deployment", "d", "app/v1")],
            {},
            "document 1: Deployment d has apiVersion app/v1, in which Kubernetes has no Deployment; Deployment is in "
            "apps. Correct apiVersion or kind, or add the CustomResourceDefinition of its kind to the files",
        ),
        (
            [named("Event", "e", "batch/v1")],
            {},
            "document 1: Event e has apiVersion batch/v1, in which Kubernetes has no Event; Event is in v1 and "
            "events.k8s.io. Correct apiVersion or kind",
        ),
        (
            [named("Cronjob", "j", "batch/v1")],
            {},
            "document 1: Cronjob j has apiVersion batch/v1, in which Kubernetes has no Cronjob; did you mean 'CronJob'"
            "? Correct apiVersion or kind",
        ),
        (
            [named("Pod", "p", spec={"schedulerName": "volcano"})],
            {},
            "document 1: pods of Pod p have schedulerName volcano, which no scheduler of the cluster serves. Name one "
            "of default-scheduler, or add a scheduler that serves it to kwok-dra:schedulers",
        ),
        (
            [claims({"requests": [{"name": "r", "deviceClassName": "gpu"}]})],
            {},
            "document 1: ResourceClaim c: spec.devices.requests[0] has no field 'deviceClassName' in "
            "resource.k8s.io/v1: put it into exactly or firstAvailable",
        ),
        (
            [claims({"requests": [SLIP]})],
            {},
            "document 1: ResourceClaim c: spec.devices.requests[0].exactly.selectors[0] has no field 'expression' in "
            "resource.k8s.io/v1: put it into cel",
        ),
        (
            [claims({}, tolerations=[])],
            {},
            "document 1: ResourceClaim c: spec has no field 'tolerations' in resource.k8s.io/v1. Its fields are "
            "devices",
        ),
        (
            [named("ResourceClaimTemplate", "t", "resource.k8s.io/v1", spec={"devices": {}})],
            {},
            "document 1: ResourceClaimTemplate t: spec has no field 'devices' in resource.k8s.io/v1: put it into spec",
        ),
        (
            [named("Pod", "p", spec={"resourceClaims": [{"name": "c", "source": {"resourceClaimName": "c"}}]})],
            {},
            "document 1: Pod p: the pod's spec.resourceClaims[0] has no field 'source' in v1. Its fields are name, "
            "resourceClaimName, resourceClaimTemplateName",
        ),
        (
            [template(request={"exactly": {"deviceClassName": "gpu", "adminAccess": True}})],
            {},
            "document 1: ResourceClaimTemplate t has adminAccess, which the API server refuses in namespace default: "
            "it needs a namespace with the label resource.kubernetes.io/admin-access: 'true'; add such a Namespace to "
            "the files",
        ),
        ([named("Node", "pool-1")], {}, f"{TAKEN} Node pool-1 for nodePools[0]: {OUT}"),
        (
            [named("DeviceClass", "gpu", "resource.k8s.io/v1")],
            {},
            f"{TAKEN} DeviceClass gpu for the drivers of its devices, or deviceClasses: {OUT}",
        ),
        (
            [named("Deployment", "w", "apps/v1")],
            {"workloads": [WORKLOAD]},
            f"{TAKEN} Deployment w for workloads[0]",
        ),
        ([pod("w-0")], {"workloads": [WORKLOAD | {"kind": "Pod"}]}, f"{TAKEN} Pod w-0 for workloads[0]"),
        ([template("w-c")], {"workloads": [WORKLOAD]}, f"{TAKEN} ResourceClaimTemplate w-c for workloads[0]"),
        (
            [named("Namespace", "n")],
            {"workloads": [WORKLOAD | {"namespace": "n"}]},
            f"{TAKEN} Namespace n for a workload or claim in it: {OUT}",
        ),
        (
            [pod(namespace="wok"), named("Namespace", "work")],
            {},
            "document 1: Pod wok/p is in a namespace that does not exist; did you mean 'work'? Add a Namespace wok to "
            "the files, or use one of default, kube-node-lease, kube-public, kube-system, work",
        ),
        (
            [template(device_class="gpx")],
            {},
            "document 1: ResourceClaimTemplate t requests device class 'gpx', which does not exist; did you mean "
            "'gpu'? Name one of gpu, or add the class to a file or to kwok-dra:deviceClasses",
        ),
        (
            [template(version="v1beta1", request={"deviceClassName": "gpx"})],
            {},
            "document 1: ResourceClaimTemplate t requests device class 'gpx', which does not exist",
        ),
        (
            [template(request={"firstAvailable": [{"name": "a", "deviceClassName": "gpx"}]})],
            {},
            "document 1: ResourceClaimTemplate t requests device class 'gpx', which does not exist",
        ),
        (
            [template(request={"exactly": {"deviceClassName": "gpu", "selectors": [{"cel": {"expression": "x ="}}]}})],
            {},
            "document 1: ResourceClaimTemplate t has an invalid selector 'x =': ",
        ),
        (
            [template(version="v1alpha1")],
            {},
            "document 1: ResourceClaimTemplate t is in resource.k8s.io/v1alpha1, in which Kubernetes 1.37 has "
            "no ResourceClaimTemplate: use v1 or v1beta2 or v1beta1",
        ),
        (
            [template(version="v1beta1", request={"deviceClassName": "gpu"})],
            {"cluster": {"name": "x", "kubeVersion": "1.38.0"}},
            "document 1: ResourceClaimTemplate t is in resource.k8s.io/v1beta1, in which Kubernetes 1.38 has "
            "no ResourceClaimTemplate: use v1 or v1beta2",
        ),
        (
            [claims({}) | {"apiVersion": "resource.k8s.io/v1alpha3"}],
            {},
            "document 1: ResourceClaim c is in resource.k8s.io/v1alpha3, in which Kubernetes 1.37 has no "
            "ResourceClaim: use v1 or v1beta2 or v1beta1",
        ),
        (
            [TAINTED],
            {"cluster": {"name": "x", "kubeVersion": "1.35.1"}},
            "document 1: DeviceTaintRule r is in resource.k8s.io/v1beta2, in which Kubernetes 1.35 has no "
            "DeviceTaintRule: use v1alpha3",
        ),
        (
            [named("ResourcePoolStatusRequest", "r", "resource.k8s.io/v1")],
            {"cluster": {"name": "x", "kubeVersion": "1.36.3"}},
            "document 1: ResourcePoolStatusRequest r is in resource.k8s.io/v1, in which Kubernetes 1.36 has no "
            "ResourcePoolStatusRequest: use v1alpha3",
        ),
        (
            [template("single-gpu"), pod(template="single-gpus")],
            {},
            "document 2: pods of Pod p name a ResourceClaimTemplate 'single-gpus' that does not exist in namespace "
            "default; did you mean 'single-gpu'? Add it to the files, in that namespace, or name one of single-gpu",
        ),
        (
            [named("Namespace", "n"), template(), pod(template="t", namespace="n")],
            {},
            "document 3: pods of Pod n/p name a ResourceClaimTemplate 't' that does not exist in namespace n. Add it "
            "to the files, in that namespace",
        ),
        (
            [named("CronJob", "j", "batch/v1", spec={"jobTemplate": {"spec": {"template": pod(claim="one")}}})],
            {},
            "document 1: pods of CronJob j name a ResourceClaim 'one' that does not exist in namespace default",
        ),
        (
            [pod()],
            {"nodePools": [{"name": "pool", "gpu": {"driver": "d"}, "taints": [{"key": "gpu", "value": "x"}]}]},
            KEPT_OFF,
        ),
        (
            [pod(spec={"tolerations": [{"key": "gpu", "value": "y"}, {"key": "other", "operator": "Exists"}]})],
            {"nodePools": [{"name": "pool", "gpu": {"driver": "d"}, "taints": [{"key": "gpu", "value": "x"}]}]},
            KEPT_OFF,
        ),
        (
            [pod()],
            {"nodePools": []},
            "document 1: there are no nodes for the pods of Pod p: add a pool to kwok-dra:nodePools",
        ),
        (
            [template(version="v1beta1", request={"deviceClassName": "gpu"})],
            {"cluster": {"name": "x", "kubeRuntimeConfig": {"resource.k8s.io/v1beta1": False}}},
            None,
        ),
    ],
)
def test_invalid_objects(objects: list[Object], values: Object, message: str | None, write: Any) -> None:
    (found,) = problems(stack({}, **values), write("a.yaml", *objects))
    if message is None:
        assert found == (
            "cluster.kubeRuntimeConfig.resource.k8s.io/v1beta1: must be served for manifests[0].files[0]: remove "
            "it, or set it to true"
        )
    else:
        assert found.startswith(f"{FILE}: {message}")


TAINTED_POOL = {"nodePools": [{"name": "pool", "gpu": {"driver": "d"}, "taints": [{"key": "gpu", "value": "x"}]}]}


@pytest.mark.parametrize(
    ("objects", "values"),
    [
        ([pod(spec={"tolerations": [{"operator": "Exists"}]})], TAINTED_POOL),
        ([pod(spec={"tolerations": [{"key": "gpu", "value": "x", "effect": "NoSchedule"}]})], TAINTED_POOL),
        ([pod(spec={"nodeName": "pool-0"})], TAINTED_POOL),
        ([pod(), named("Node", "own")], TAINTED_POOL),
        ([pod()], {"nodePools": [*TAINTED_POOL["nodePools"], {"name": "other", "gpu": {"driver": "d"}}]}),
        ([pod()], {"nodePools": [TAINTED_POOL["nodePools"][0] | {"taints": []}]}),
        ([pod(template="w-c")], {"workloads": [WORKLOAD]}),
        ([template(device_class="own"), named("DeviceClass", "own", "resource.k8s.io/v1beta1")], {}),
        ([named("Pod", "p"), named("Pod", "p", "example.org/v1"), DEFINITION, named("Job", "p", "batch/v1")], {}),
        ([named("Namespace", "n"), pod(), pod(namespace="n")], {}),
        (
            [
                deployment(resourceClaims="odd", tolerations=5),
                named("DeviceClass", "odd", "resource.k8s.io/v1", spec=[]),
            ],
            {},
        ),
    ],
)
def test_valid_objects(objects: list[Object], values: Object, write: Any) -> None:
    assert load(stack({}, **values), write("a.yaml", *objects)).manifests[0].name == "m0"


def tainted(*taints: str, name: str = "pool") -> Object:
    """Return a pool with taints, each as `key:effect` or `key=value:effect`."""
    return {"name": name, "gpu": {"driver": "d"}, "taints": [taint(text) for text in taints]}


def taint(text: str) -> Object:
    key, _, effect = text.partition(":")
    return {"key": key.partition("=")[0], "value": key.partition("=")[2], "effect": effect}


def daemons(**spec: Any) -> Object:
    return deployment(**spec) | {"kind": "DaemonSet"}


def runtime_class(*tolerations: Object) -> Object:
    return named("RuntimeClass", "own", "node.k8s.io/v1", handler="x", scheduling={"tolerations": [*tolerations]})


NODE = named("Node", "own", spec={"taints": [taint("node:NoExecute")]})


@pytest.mark.parametrize(
    ("objects", "pools", "message"),
    [
        # Of several nodes, the one with the fewest taints is the least to tolerate.
        (
            [pod(), NODE],
            [tainted("a:NoSchedule", "b=1:NoExecute", "c:PreferNoSchedule")],
            f"pods of Pod p {NO_TOLERATION}: pool pool has a:NoSchedule, b=1:NoExecute; Node own has node:NoExecute. "
            "Give the pods the toleration {key: node, operator: Exists}, or remove the taints of Node own",
        ),
        (
            [pod()],
            [
                tainted("a:NoSchedule", "b:NoExecute", "a:NoExecute"),
                tainted("a:NoSchedule", "b:NoSchedule", "c:NoSchedule", name="other"),
            ],
            f"pods of Pod p {NO_TOLERATION}: pool pool has a:NoSchedule, b:NoExecute, a:NoExecute; pool other has "
            "a:NoSchedule, b:NoSchedule, c:NoSchedule. Give the pods the tolerations {key: a, operator: Exists} and "
            "{key: b, operator: Exists}, or set taints: [] for pool pool, under kwok-dra:nodePools",
        ),
        # What the DaemonSet controller and admission add: by the kind, by hostNetwork, by the RuntimeClass.
        ([daemons()], [tainted("node.kubernetes.io/unschedulable:NoSchedule")], None),
        ([deployment()], [tainted("node.kubernetes.io/unschedulable:NoSchedule")], NO_TOLERATION),
        ([daemons(hostNetwork=True)], [tainted("node.kubernetes.io/network-unavailable:NoSchedule")], None),
        ([daemons()], [tainted("node.kubernetes.io/network-unavailable:NoSchedule")], NO_TOLERATION),
        ([pod()], [tainted("node.kubernetes.io/not-ready:NoExecute")], None),
        ([pod()], [tainted("node.kubernetes.io/not-ready:NoSchedule")], NO_TOLERATION),
        (
            [runtime_class({"key": "gpu", "operator": "Exists"}), deployment(runtimeClassName="own")],
            [tainted("gpu:NoSchedule")],
            None,
        ),
        (
            [runtime_class({"key": "other"}), deployment(runtimeClassName="own")],
            [tainted("gpu:NoSchedule")],
            NO_TOLERATION,
        ),
        ([deployment(runtimeClassName="unknown")], [tainted("gpu:NoSchedule")], None),
        (
            [named("MutatingAdmissionPolicy", "x", "admissionregistration.k8s.io/v1"), pod()],
            [tainted("gpu:NoSchedule")],
            None,
        ),
        # Objects that create no pods.
        ([named("Deployment", "d", "apps/v1", spec={"replicas": 0})], [tainted("gpu:NoSchedule")], None),
        ([named("Job", "j", "batch/v1", spec={"suspend": True})], [tainted("gpu:NoSchedule")], None),
    ],
)
def test_taints_that_pods_tolerate(objects: list[Object], pools: list[Object], message: str | None, write: Any) -> None:
    configuration = stack({}, nodePools=pools)
    folder = write("a.yaml", *objects)
    if message is None:
        load(configuration, folder)
    else:
        (found,) = problems(configuration, folder)
        assert message in found


def toleration(operator: str, value: str) -> Object:
    return pod(spec={"tolerations": [{"key": "level", "operator": operator, "value": value}]})


@pytest.mark.parametrize(
    ("operator", "value", "level", "tolerated"),
    [
        ("Gt", "4", "5", True),
        ("Gt", "5", "5", False),
        ("Lt", "6", "5", True),
        ("Lt", "5", "5", False),
        ("Lt", "five", "five", False),
        ("Lt", "07", "5", False),
        ("Equal", "5", "5", True),
        ("", "5", "5", True),
        ("Near", "5", "5", False),
    ],
)
def test_tolerations_that_compare(operator: str, value: str, level: str, tolerated: bool, write: Any) -> None:
    """https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/#numeric-comparison-operators"""
    configuration = stack({}, nodePools=[tainted() | {"taints": [{"key": "level", "value": level}]}])
    folder = write("a.yaml", toleration(operator, value))
    if tolerated:
        load(configuration, folder)
    else:
        assert NO_TOLERATION in problems(configuration, folder)[0]


def test_comparisons_of_tolerations_need_a_gate(write: Any) -> None:
    """The API server refuses them without: ValidateTolerations in pkg/apis/core/validation."""
    folder = write("a.yaml", toleration("Gt", "4"))
    assert load(stack({}), folder).cluster.kube_feature_gates == {"TaintTolerationComparisonOperators": True}
    assert problems(stack({}, cluster={"name": "x", "kubeVersion": "1.34.2"}), folder) == [
        f"{FILE}: uses toleration comparisons, which Kubernetes 1.34.2 does not have: set kwok-dra:cluster.kubeVersion "
        "to a release since 1.35, such as 1.37.2"
    ]


def test_pods_that_are_expected_to_wait_need_no_toleration(write: Any) -> None:
    load(stack({"expect": {"pending": 1}}, **TAINTED_POOL), write("a.yaml", pod()))


def test_names_and_order(write: Any) -> None:
    folder = write("a.yaml", deployment())
    write("b.yaml", deployment("e"))
    assert problems(stack({"name": "w"}, workloads=[WORKLOAD]), folder) == [
        "manifests[0].name: 'w' is already the name of workloads[0]: give each its own"
    ]
    assert problems(stack({"after": ["x"]}, {"after": ["m0"]}), folder) == [
        "manifests[0].after[0]: there is no workload 'x'. Name one of m1, or remove it"
    ]
    circle = stack({"after": ["w"]}, workloads=[WORKLOAD | {"after": ["m0"]}])
    assert problems(circle, folder) == ["workloads: form a cycle (w → m0 → w): remove one `after` entry"]


def test_namespaces_of_other_entries_come_first(write: Any) -> None:
    folder = write("a.yaml", pod(namespace="n"))
    write("b.yaml", deployment())
    write("c.yaml", named("Namespace", "n"))
    assert problems(stack({"after": ["m1"]}, {}, {}), folder) == [
        f"{FILE}: document 1: Pod n/p is in a namespace of manifests[2].files[0], which may be created later: add "
        "after: [m2]"
    ]
    load(stack({"after": ["m1"]}, {"after": ["m2"]}, {}), folder)


# Pods that no node can run.

TWO = {"exactly": {"deviceClassName": "gpu", "count": 2}}
TOO_FEW = "wants 2 devices of class gpu, but no node of pool has more than 1: ask for fewer, or give nodes more"
EVERY = claims({"requests": [{"name": "r", "exactly": {"deviceClassName": "gpu", "allocationMode": "All"}}]})
BOTH = [{"name": "c", "resourceClaimName": "c"}, {"name": "own", "resourceClaimTemplateName": "t"}]
AFFINITY: Object = {"nodeAffinity": {}}
NOWHERE = pod(template="t", spec={"nodeSelector": {"nowhere": ""}})["spec"]


@pytest.mark.parametrize(
    ("objects", "message"),
    [
        ([pod(template="t"), template()], None),
        ([pod(template="t"), template(request=TWO)], f"document 1: Pod p: claims[0].requests[0]: {TOO_FEW}"),
        (
            [pod(template="t"), template(version="v1beta1", request=TWO["exactly"])],
            f"document 1: Pod p: claims[0].requests[0]: {TOO_FEW}",
        ),
        (
            [pod(claim="c"), claims({"requests": [{"name": "r"} | TWO]})],
            f"document 2: ResourceClaim c: requests[0]: {TOO_FEW}",
        ),
        (
            [pod(spec={"resourceClaims": BOTH}), EVERY, template()],
            "document 1: Pod p: claims: not even an empty node of pool can satisfy them all at once: ask for less, or "
            "loosen selectors and constraints",
        ),
        (
            [
                named(
                    "ReplicaSet",
                    "s",
                    "apps/v1",
                    spec={"replicas": 3, "template": {"spec": pod(template="t")["spec"]}},
                ),
                template(),
            ],
            "document 1: ReplicaSet s: replicas: is 3, but pool can hold at most 2 such pods: ask for fewer, give the "
            "pools more nodes or devices, or declare that the rest stay pending with expect: {pending: 1}",
        ),
        # The pods of a Job take turns; what a workload cannot say, and nodes of the files, are left to the scheduler.
        (
            [
                named(
                    "Job",
                    "j",
                    "batch/v1",
                    spec={"parallelism": 3, "template": {"spec": pod(template="t")["spec"]}},
                ),
                template(),
            ],
            None,
        ),
        ([pod(template="t", spec={"affinity": AFFINITY}), template(request=TWO)], None),
        ([pod(template="t"), template(request=TWO), named("Node", "other")], None),
        (
            [
                pod(template="t"),
                template(request=TWO),
                named("MutatingWebhookConfiguration", "x", "admissionregistration.k8s.io/v1"),
            ],
            None,
        ),
        ([pod(template="t", spec={"runtimeClassName": "x"}), template(request=TWO)], None),
        *(
            ([named(kind, "x", version, spec=spec | {"template": {"spec": NOWHERE}}), template()], None)
            for kind, version, spec in (
                ("Job", "batch/v1", {"parallelism": 0}),
                ("Job", "batch/v1", {"completions": 0}),
                ("Job", "batch/v1", {"suspend": True}),
                ("DaemonSet", "apps/v1", {}),
                ("Deployment", "apps/v1", {"replicas": 0}),
            )
        ),
        # Fields of the wrong type are left to the API server.
        (
            [named("Deployment", "x", "apps/v1", spec={"replicas": "x", "template": {"spec": NOWHERE}}), template()],
            None,
        ),
        ([pod(template="t", spec={"containers": [{"name": "x", "resources": {"limits": [1]}}]}), template()], None),
        ([pod(template="t"), template(request={"exactly": ["x"]})], None),
        ([named("Namespace", "n") | {"metadata": {"name": "n", "labels": [1]}}], None),
        ([named("CustomResourceDefinition", "c", "apiextensions.k8s.io/v1", spec={"group": [1]})], None),
        ([named("ResourceClaim", "c", "example.org/v1", spec={"devices": {}}), DEFINITION], None),
    ],
)
def test_pods_that_no_node_can_run(objects: list[Object], message: str | None, write: Any) -> None:
    folder = write("a.yaml", *objects)
    waiting = stack({"expect": {"pending": 1}})
    load(waiting, folder)
    if message is None:
        load(stack({}), folder)
    else:
        assert problems(stack({}), folder) == [f"{FILE}: {message}"]


def test_a_claim_of_the_files_beside_one_of_the_stack(write: Any) -> None:
    """The message names the document, whichever claims come before it."""
    asking = claims({"requests": [{"name": "r", "exactly": {"deviceClassName": "gpu", "count": 3}}]})
    folder = write("a.yaml", asking, pod(claim="c"))
    shared = [{"name": "shared", "requests": [{"name": "r", "deviceClass": "gpu"}]}]
    with pytest.raises(ConfigurationError, match=r"document 1: ResourceClaim c: requests\[0\]: wants 3"):
        load(stack({"files": ["a.yaml"]}, claims=shared), folder)
