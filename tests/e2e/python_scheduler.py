#!/usr/bin/env python3
"""A scheduler in Python: it binds each pod that names it to the node with the fewest pods, in reverse order of names.

    python_scheduler.py SERVER CERTIFICATES NAME

It knows nothing of devices, and tolerates every taint. It needs the standard library alone, to show that any program
that can send HTTP requests will do.
"""

import json
import ssl
import sys
import time
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

SECONDS_BETWEEN_LOOKS = 0.2


class Api:
    """The API server, with the certificate of an administrator."""

    def __init__(self, server: str, certificates: Path) -> None:
        self.server = server
        self.context = ssl.create_default_context(cafile=str(certificates / "ca.crt"))
        self.context.load_cert_chain(certificates / "tls.crt", certificates / "tls.key")

    def send(self, method: str, path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.server + path, data, headers, method=method)
        with urllib.request.urlopen(request, context=self.context, timeout=10) as answer:
            return json.load(answer)

    def items(self, path: str) -> list[Any]:
        return list(self.send("GET", path)["items"])


def bind(api: Api, pod: Any, node: str) -> None:
    namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
    target = {"apiVersion": "v1", "kind": "Node", "name": node}
    binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target}
    api.send("POST", f"/api/v1/namespaces/{namespace}/pods/{name}/binding", binding)
    print(f"{namespace}/{name} is bound to {node}", flush=True)


def schedule(api: Api, scheduler: str) -> None:
    pods = api.items("/api/v1/pods")
    nodes = sorted((node["metadata"]["name"] for node in api.items("/api/v1/nodes")), reverse=True)
    on_nodes = Counter({node: 0 for node in nodes})
    on_nodes.update(pod["spec"]["nodeName"] for pod in pods if pod["spec"].get("nodeName"))
    for pod in pods:
        if nodes and pod["spec"]["schedulerName"] == scheduler and not pod["spec"].get("nodeName"):
            node = min(nodes, key=lambda name: on_nodes[name])
            bind(api, pod, node)
            on_nodes[node] += 1


def main() -> None:
    server, certificates, scheduler = sys.argv[1:]
    api = Api(server, Path(certificates))
    while True:
        try:
            schedule(api, scheduler)
        except OSError as error:  # The API server does not answer yet, or refuses: it may do so later.
            print(error, flush=True)
        time.sleep(SECONDS_BETWEEN_LOOKS)


if __name__ == "__main__":
    main()
