"""The paths of objects of any kind, by discovery.

https://kubernetes.io/docs/concepts/overview/kubernetes-api/#discovery-api
"""

from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from cluster.api.api_server import NOT_FOUND, ApiServer
from topology.kubernetes.objects import DEFAULT_NAMESPACE, Reference


def object_paths(api: ApiServer, references: Iterable[Reference]) -> list[str | None]:
    """Return the path of each object; None if the API server does not serve its API version or kind.

    Raises:
        UnreachableError: the cluster does not answer.
        RefusedError: the API server refuses discovery.
    """
    wanted = list(references)
    served = {version: _resources(api, version) for version in {version for version, *_ in wanted}}
    return [_path(reference, served[reference[0]]) for reference in wanted]


def _resources(api: ApiServer, version: str) -> dict[str, Any]:
    """Return the resources of an API version by kind."""
    answer = api.get(_root(version)).checked(NOT_FOUND)
    listed = [] if answer.status == NOT_FOUND else answer.object["resources"]
    return {entry["kind"]: entry for entry in listed if "/" not in entry["name"]}


def _path(reference: Reference, resources: dict[str, Any]) -> str | None:
    version, kind, namespace, name = reference
    if kind not in resources:
        return None
    resource = resources[kind]
    place = f"namespaces/{namespace or DEFAULT_NAMESPACE}/" if resource["namespaced"] else ""
    return f"{_root(version)}/{place}{resource['name']}/{quote(name)}"


def _root(version: str) -> str:
    return f"/apis/{version}" if "/" in version else f"/api/{version}"
