"""Deployments, Jobs and bare pods: fake pods for KWOK's nodes."""

from topology.kubernetes.objects import QUEUE_LABEL, Manifest, given
from topology.objects.nodes import KWOK_TOLERATION, NODE_TYPE
from topology.objects.pod_groups import POD_GROUP_LABEL, pod_claim
from topology.schema.workloads import Container, Workload


def workload_objects(workload: Workload) -> list[Manifest]:
    """Render the Deployment, Job or bare pods of `workload`."""
    metadata = {"name": workload.name, "namespace": workload.namespace} | given(labels=_queue(workload))
    if workload.kind == "Pod":
        return [pod(workload, name) for name in workload.pod_names()]
    if workload.kind == "Job":
        return [{"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": _job_spec(workload)}]
    return [{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": _deployment_spec(workload)}]


def _selector(workload: Workload) -> dict[str, str]:
    return {"app": workload.name}


def _labels(workload: Workload) -> dict[str, str]:
    return _selector(workload) | ({POD_GROUP_LABEL: workload.name} if workload.pod_group else {})


def _queue(workload: Workload) -> dict[str, str]:
    return {QUEUE_LABEL: workload.queue} if workload.queue else {}


def pod(workload: Workload, name: str) -> Manifest:
    """Render the bare pod `name` of `workload`."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": workload.namespace, "labels": _labels(workload) | _queue(workload)},
        "spec": _pod_spec(workload),
    }


def _deployment_spec(workload: Workload) -> Manifest:
    return {
        "replicas": workload.replicas,
        "selector": {"matchLabels": _selector(workload)},
        "template": {"metadata": {"labels": _labels(workload)}, "spec": _pod_spec(workload)},
    }


def _job_spec(workload: Workload) -> Manifest:
    return {
        "completions": workload.replicas,
        "parallelism": workload.replicas,
        "template": {
            "metadata": {"labels": _labels(workload)},
            "spec": {"restartPolicy": "Never"} | _pod_spec(workload),
        },
    }


def _pod_spec(workload: Workload) -> Manifest:
    type_is_kwok = [{"key": key, "operator": "In", "values": [value]} for key, value in NODE_TYPE.items()]
    node_selector = {"nodeSelectorTerms": [{"matchExpressions": type_is_kwok}]}
    return {
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": node_selector}},
        "tolerations": [
            KWOK_TOLERATION,
            *(toleration.model_dump(by_alias=True, exclude_none=True) for toleration in workload.tolerations),
        ],
        "containers": [_container(container) for container in workload.all_containers()],
    } | given(
        nodeSelector=workload.node_selector,
        priorityClassName=workload.priority,
        schedulerName=workload.scheduler,
        resourceClaims=[pod_claim(workload, claim) for claim in workload.claims],
    )


def _container(container: Container) -> Manifest:
    resources = given(
        claims=[claim.model_dump(exclude_none=True) for claim in container.claims],
        limits={name: amount for name, amount in container.resources.items() if name in container.extended_resources},
        requests=container.resources,
    )
    return {"name": container.name, "image": "fake-image", "resources": resources}
