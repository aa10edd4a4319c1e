"""Turns the webhooks of a controller's manifests to its process on this machine.

https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#contacting-the-webhook
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from topology.kubernetes.objects import Manifest
from topology.kubernetes.reading import namespace_of, part, pod_spec

HOST = "https://127.0.0.1:"
PORT = "{port.webhook}"
"""The placeholder for the port on which a controller serves its webhooks."""

_CONFIGURATIONS = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")


def for_local_process(objects: Iterable[Manifest], ca_bundle: str) -> list[Manifest]:
    """Return the objects that a controller needs which runs as a process, its webhooks turned to `PORT`.

    What creates pods is left out: the process takes the place of the controller's own. A webhook that points to a
    Service of type ExternalName in the objects stays.
    """
    found = [entry for entry in objects if pod_spec(entry) is None]
    external = {
        (namespace_of(entry), entry["metadata"]["name"])
        for entry in found
        if entry["kind"] == "Service" and part(entry, "spec", "type") == "ExternalName"
    }
    return [_turned(entry, external, ca_bundle) for entry in found]


def local_urls(objects: Iterable[Manifest]) -> Iterator[str]:
    """Yield the URLs on this machine to which the webhooks of the objects are turned."""
    for entry in objects:
        for client in _clients(entry):
            if client.get("url", "").startswith(HOST):
                yield client["url"]


def _clients(entry: Manifest) -> Iterator[Mapping[str, Any]]:
    """Yield each `clientConfig` of a webhook configuration or of a CRD."""
    if entry["kind"] in _CONFIGURATIONS:
        yield from (hook.get("clientConfig") or {} for hook in entry.get("webhooks") or [])
    elif entry["kind"] == "CustomResourceDefinition":
        yield part(entry, "spec", "conversion", "webhook", "clientConfig") or {}


def left_out(objects: Iterable[Manifest]) -> Iterator[str]:
    """Yield the kind and name of each object that `for_local_process` leaves out."""
    return (f"{entry['kind']} {entry['metadata']['name']}" for entry in objects if pod_spec(entry) is not None)


def _turned(entry: Manifest, external: set[tuple[str, str]], ca_bundle: str) -> Manifest:
    def client(config: Mapping[str, Any]) -> Mapping[str, Any]:
        service = config.get("service")
        if not service or (service.get("namespace"), service.get("name")) in external:
            return config
        return {"url": f"{HOST}{PORT}{service.get('path', '')}", "caBundle": ca_bundle}

    if entry["kind"] in _CONFIGURATIONS:
        hooks = entry.get("webhooks") or []
        return entry | {"webhooks": [hook | {"clientConfig": client(hook.get("clientConfig") or {})} for hook in hooks]}
    webhook = part(entry, "spec", "conversion", "webhook")
    if entry["kind"] != "CustomResourceDefinition" or not webhook:
        return entry
    turned = webhook | {"clientConfig": client(webhook.get("clientConfig") or {})}
    return entry | {"spec": entry["spec"] | {"conversion": entry["spec"]["conversion"] | {"webhook": turned}}}
