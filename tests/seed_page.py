"""KWOK's page on Dynamic Resource Allocation, which the dev stack reproduces: its commands and its objects."""

import copy
import re
from pathlib import Path
from typing import Any

import yaml

PAGE = Path(__file__).parent / "data" / "kwok-dra.md"
SUFFIX = re.compile(r"[a-z0-9]+$")
"""The end of a ResourceSlice's name, which is random on the page."""


def shell_blocks() -> list[str]:
    """Return the page's bash blocks in order.

    First the command that creates the cluster, then one `kubectl apply` per object; the last two blocks are
    `kubectl get` with its output below.
    """
    return re.findall(r"^```bash\n(.*?)^```", PAGE.read_text(), flags=re.DOTALL | re.MULTILINE)


def manifests() -> list[dict[str, Any]]:
    """Return the objects that the page applies, in order and as the page has them."""
    documents = (re.search(r"<<EOF\n(.*?)^EOF$", block, flags=re.DOTALL | re.MULTILINE) for block in shell_blocks())
    return [yaml.safe_load(document[1]) for document in documents if document]


def as_v1(manifest: dict[str, Any]) -> dict[str, Any]:
    """Convert an object of the page as the API server does: v1beta1 to v1, with the defaults and without empty values.

    https://kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/ and
    https://github.com/kubernetes/kubernetes/blob/v1.37.2/pkg/apis/resource/v1beta1/conversion.go
    """
    manifest = copy.deepcopy(manifest)
    if manifest["apiVersion"] == "resource.k8s.io/v1beta1":
        manifest["apiVersion"] = "resource.k8s.io/v1"
    spec = manifest["spec"]
    match manifest["kind"]:
        case "Node":
            status = manifest["status"]
            for amounts in (status["allocatable"], status["capacity"]):
                amounts.update({name: str(amount) for name, amount in amounts.items()})
            status["nodeInfo"] = {key: value for key, value in status["nodeInfo"].items() if value}
        case "ResourceSlice":
            spec["devices"] = [{"name": device["name"], **device["basic"]} for device in spec["devices"]]
            spec["pool"]["generation"] = 0
        case "ResourceClaimTemplate":
            manifest["metadata"]["namespace"] = "default"
            exactly = {"allocationMode": "ExactCount", "count": 1}
            requests = spec["spec"]["devices"]["requests"]
            for request in requests:
                request["exactly"] = exactly | {"deviceClassName": request.pop("deviceClassName")}
    return manifest


def without_suffix(manifest: dict[str, Any]) -> dict[str, Any]:
    """Remove the random part of a ResourceSlice's name."""
    if manifest["kind"] != "ResourceSlice":
        return manifest
    name = SUFFIX.sub("", manifest["metadata"]["name"])
    return manifest | {"metadata": manifest["metadata"] | {"name": name}}
