"""Files of Kubernetes objects of the user's own, on the real thing: made in order, reported, changed, taken away."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.project import Project, processes_of

Object = dict[str, Any]

DEMO = """
apiVersion: v1
kind: Namespace
metadata: {name: demo}
---
apiVersion: resource.k8s.io/v1
kind: ResourceClaimTemplate
metadata: {name: gpu, namespace: demo}
spec: {spec: {devices: {requests: [{name: gpu, exactly: {deviceClassName: gpu.example.com}}]}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: demo}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: main, image: image, resources: {claims: [{name: gpu}]}}]
      resourceClaims: [{name: gpu, resourceClaimTemplateName: gpu}]
---
apiVersion: batch/v1
kind: Job
metadata: {name: batch, namespace: demo}
spec:
  completions: 2
  template:
    spec:
      restartPolicy: Never
      containers: [{name: main, image: image, resources: {claims: [{name: gpu}]}}]
      resourceClaims: [{name: gpu, resourceClaimTemplateName: gpu}]
---
apiVersion: v1
kind: Pod
metadata: {name: bare, namespace: demo, labels: {app: web}}
spec:
  containers: [{name: main, image: image, resources: {claims: [{name: gpu}]}}]
  resourceClaims: [{name: gpu, resourceClaimTemplateName: gpu}]
"""

EXTENSION = """
# The object before its definition.
apiVersion: example.org/v1
kind: Simulation
metadata: {name: first}
spec: {seed: 1}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: simulations.example.org}
spec:
  group: example.org
  names: {kind: Simulation, plural: simulations}
  scope: Namespaced
  versions:
    - name: v1
      served: true
      storage: true
      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
"""

# Kinds for whose readiness Pulumi would wait ten minutes: nothing here gives them what they want.
AWAITED = """
apiVersion: v1
kind: Service
metadata: {name: balanced}
spec: {type: LoadBalancer, selector: {app: nobody}, ports: [{port: 80}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: way-in}
spec: {defaultBackend: {service: {name: balanced, port: {number: 80}}}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: disk}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: volume}
spec: {accessModes: [ReadWriteOnce], capacity: {storage: 1Gi}, hostPath: {path: /x}, storageClassName: other}
"""

CONTROLLERS = """
apiVersion: resource.k8s.io/v1beta1
kind: ResourceClaimTemplate
metadata: {name: old}
spec: {spec: {devices: {requests: [{name: gpu, deviceClassName: gpu.example.com}]}}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: set}
spec:
  replicas: 3
  serviceName: set
  selector: {matchLabels: {app: set}}
  template:
    metadata: {labels: {app: set}}
    spec:
      containers: [{name: main, image: image, resources: {claims: [{name: gpu}]}}]
      resourceClaims: [{name: gpu, resourceClaimTemplateName: old}]
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: everywhere}
spec:
  selector: {matchLabels: {app: everywhere}}
  template:
    metadata: {labels: {app: everywhere}}
    spec: {containers: [{name: main, image: image}]}
---
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: replicated}
spec:
  replicas: 1
  selector: {matchLabels: {app: replicated}}
  template:
    metadata: {labels: {app: replicated}}
    spec:
      containers: [{name: main, image: image, resources: {claims: [{name: gpu}]}}]
      resourceClaims: [{name: gpu, resourceClaimTemplateName: old}]
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: sometimes}
spec:
  schedule: "0 0 1 1 *"
  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: main, image: image}]}}}}
"""


def documents(text: str) -> list[Object]:
    """Return the objects of a file, each of its own."""
    return [entry for entry in yaml.safe_load_all(text) if entry]


@pytest.fixture(scope="module")
def manifests(new_project: Callable[[], Project]) -> Project:
    """Return a project whose stack `own` has a node with ten GPUs and the files above."""
    project = new_project()
    stack = {
        "nodePools": [{"name": "gpu", "gpu": "example-gpu", "gpusPerNode": 10}],
        "manifests": [
            {"name": "demo", "files": ["own/demo.yaml"]},
            {"name": "extension", "files": ["own/extension.yaml", "own/awaited.yaml"]},
        ],
    }
    config = {"config": {f"kwok-dra:{key}": value for key, value in stack.items()}}
    (project.source / "stacks" / "Pulumi.own.yaml").write_text(yaml.safe_dump(config))
    (project.source / "own").mkdir()
    for name, text in (
        ("demo", DEMO),
        ("extension", EXTENSION),
        ("awaited", AWAITED),
        ("controllers", CONTROLLERS),
    ):
        write(project, name, text)
    project.select("own")
    return project


def file(project: Project, name: str) -> Path:
    return project.source / "own" / f"{name}.yaml"


def write(project: Project, name: str, text: str) -> None:
    file(project, name).write_text(text)


def edit(project: Project, name: str, old: str, new: str) -> None:
    text = file(project, name).read_text()
    assert old in text
    write(project, name, text.replace(old, new))


def claims(project: Project, workload: str) -> list[tuple[str, str]]:
    """Return the claims of an entry: what made the pod, and the state."""
    found = project.outputs()["claims"]
    return [(claim["pod"].split("-")[0], claim["state"]) for claim in found if claim["workload"] == workload]


def uids(project: Project) -> dict[str, str]:
    """Return the identities of the objects of the namespace `demo`, pods of controllers left out."""
    kinds = "resourceclaimtemplates,deployments,jobs,pods"
    found = [entry for entry in project.get(kinds) if entry["metadata"]["namespace"] == "demo"]
    return {
        f"{entry['kind']} {entry['metadata']['name']}": entry["metadata"]["uid"]
        for entry in found
        if "ownerReferences" not in entry["metadata"]
    }


HELD = "allocated,reserved"


def test_all_kinds_of_pods(manifests: Project) -> None:
    said = manifests.up()
    assert "warning" not in said
    assert claims(manifests, "demo") == [
        ("bare", HELD),
        ("batch", "released"),
        ("batch", "released"),
        ("web", HELD),
        ("web", HELD),
    ]
    outputs = manifests.outputs()
    assert {claim["namespace"] for claim in outputs["claims"]} == {"demo"}
    assert outputs["pools"] == [{"name": "gpu", "nodes": 1, "devices": 10, "allocated": 3, "free": 7}]
    told = "5 of 5 claims allocated (2 released), 3 of 5 pods running (2 ended), 3 of 10 devices in use on 1 node"
    assert outputs["summary"] == told
    manifests.up("--expect-no-changes")


def test_a_definition_and_its_object(manifests: Project) -> None:
    (found,) = manifests.get("simulations.example.org")
    assert (found["metadata"]["name"], found["spec"]) == ("first", {"seed": 1})


def test_nothing_is_changed_on_the_way(manifests: Project) -> None:
    for text in (DEMO, AWAITED):
        for written in documents(text):
            kind, metadata = written["kind"], written["metadata"]
            place = ("--namespace", metadata.get("namespace", "default"))
            found = manifests.kubectl("get", kind, metadata["name"], *place, "--output", "json")
            annotations = found["metadata"].get("annotations", {}).keys()
            assert {name for name in annotations if "kubernetes.io" not in name} <= {"pulumi.com/waitFor"}
            assert found["metadata"].get("labels", {}).items() >= metadata.get("labels", {}).items()
            assert found["apiVersion"] == written["apiVersion"]


def test_an_edit_changes_only_what_it_is_about(manifests: Project) -> None:
    before = uids(manifests)
    edit(manifests, "demo", "replicas: 2", "replicas: 3")
    assert manifests.planned() == {"kubernetes:apps/v1:Deployment demo/web": "update"}
    manifests.up()
    assert uids(manifests) == before
    assert claims(manifests, "demo").count(("web", HELD)) == 3
    manifests.up("--expect-no-changes")


def test_a_template_is_replaced_with_what_makes_pods_of_it(manifests: Project) -> None:
    before = uids(manifests)
    edit(manifests, "demo", "deviceClassName: gpu.example.com}", "deviceClassName: gpu.example.com, count: 2}")
    manifests.up()
    after = uids(manifests)
    assert after.keys() == before.keys()
    assert not set(before.values()) & set(after.values())
    assert manifests.outputs()["pools"][0]["allocated"] == 8
    manifests.up("--expect-no-changes")


def test_a_removed_entry_takes_its_objects_with_it(manifests: Project) -> None:
    with manifests.configuration("own") as config:
        config["manifests"].pop()
    planned = manifests.planned()
    assert planned.pop("command:local:Command removals") == "update"
    assert set(planned.values()) == {"delete"}
    manifests.up()
    assert "simulations.example.org" not in manifests.run("kubectl", "api-resources", "--output", "name").stdout
    assert manifests.get("services,ingresses,persistentvolumeclaims,persistentvolumes")[1:] == []  # `kubernetes` stays
    manifests.up("--expect-no-changes")


def test_pods_that_wait_are_an_error_with_the_reason(manifests: Project) -> None:
    edit(manifests, "demo", "replicas: 3", "replicas: 5")
    with manifests.configuration("own") as config:
        config["manifests"][0]["expect"] = {"pending": 1}
    manifests.up()
    assert [state for _, state in claims(manifests, "demo")].count("pending") == 1
    manifests.up("--expect-no-changes")
    with manifests.configuration("own") as config:
        del config["manifests"][0]["expect"]
        config["manifests"][0]["readyTimeoutSeconds"] = 2
    said = manifests.fails()
    assert "workload demo: 7 of 8 pods run or have ended after 2 s (kwok-dra:manifests readyTimeoutSeconds)" in said
    assert "1 cannot allocate all claims" in said


def test_other_controllers_and_an_older_version(manifests: Project) -> None:
    """The version is served for it, on a new cluster; four pods want three GPUs, one after the other."""
    with manifests.configuration("own") as config:
        config["nodePools"] = [{"name": "gpu", "gpu": "example-gpu", "gpusPerNode": 3}]
        config["manifests"] = [
            {"name": "controllers", "files": ["own/controllers.yaml"], "expect": {"allocated": 3, "pending": 1}}
        ]
    manifests.up()
    assert "resource.k8s.io/v1beta1" in manifests.run("kubectl", "api-versions").stdout.split()
    assert "kubernetes:resource.k8s.io/v1beta1:ResourceClaimTemplate" in manifests.resources()
    found = dict.fromkeys(pod for pod, _ in claims(manifests, "controllers"))
    assert list(found) == ["replicated", "set"]
    assert len(claims(manifests, "controllers")) == 4
    assert [pod for pod in manifests.get("pods") if pod["metadata"]["name"].startswith("everywhere-")]
    manifests.up("--expect-no-changes")


def test_what_is_wrong_is_told_before_anything_changes(manifests: Project) -> None:
    edit(manifests, "controllers", "resourceClaimTemplateName: old", "resourceClaimTemplateName: odd")
    said = manifests.fails()
    assert "the configuration has 2 problems; nothing was created or changed" in said
    assert (
        "kwok-dra:manifests[0].files[0]: document 2: pods of StatefulSet set name a ResourceClaimTemplate 'odd' that "
        "does not exist in namespace default; did you mean 'old'?"
    ) in " ".join(said.split())
    edit(manifests, "controllers", "resourceClaimTemplateName: odd", "resourceClaimTemplateName: old")
    manifests.up("--expect-no-changes")


def test_destroy(manifests: Project) -> None:
    manifests.destroy()
    assert manifests.resources() == []
    assert processes_of(manifests.clusters) == []
