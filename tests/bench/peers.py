"""Other ways to the same objects: those of users on a cluster as kwokctl makes it, and the limit of ours.

All of them get their objects rendered and, where that is possible, serialised beforehand. Slices are owned by their
Nodes, so these come first; reading the Nodes' uids for kubectl does not count either.
"""

import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import urllib3
import yaml

from tests.bench.measurements import Measurements, Quantity, seconds
from tests.bench.stack import NODES, POOL, SLICES, STACK, BenchStack, Entry, Tuning, pool
from topology.checks.validation import load
from topology.objects.nodes import node
from topology.objects.slices import is_owned_by_node, owner_reference, resource_slices
from topology.schema.stack import NodePool

KUBECTL = Quantity("fleet", "kubectl create")
SCALE = Quantity("fleet", "kwokctl scale")
POSTS = Quantity("fleet", "8 connections of POSTs")
CONNECTIONS = 8
UID = "the uid of the node"
"""What stands in a serialised slice for what is not known yet."""


def measure_peers(stack: BenchStack, nodes: int, measurements: Measurements) -> None:
    """Measure each peer on a new cluster, and check that it has made everything."""
    fleet = node_pool(nodes)
    for quantity, (peer, tuning) in PEERS.items():
        with stack.cluster(tuning=tuning):
            measurements.add(quantity, nodes, peer(stack, fleet))
            stack.wait_until_ready(nodes)


def node_pool(nodes: int) -> NodePool:
    """Return the pool as the program has it."""
    [fleet] = load({"cluster": {"name": POOL}, "nodePools": [pool(nodes)]}).node_pools
    return fleet


def kubectl_create(stack: BenchStack, fleet: NodePool) -> float:
    """Return the seconds of `kubectl create` with a file of all nodes, and with one of all slices."""
    create = partial(stack.project.run, "kubectl", "create", "--filename")
    names = fleet.node_names()
    for_nodes = seconds(create, stack.write("nodes.json", *(node(fleet, name) for name in names)))
    uids = uids_of_nodes(stack)
    owned = (entry for name in names for entry in slices(fleet, name, uids[name]))
    return for_nodes + seconds(create, stack.write("slices.json", *owned))


def kwokctl_scale(stack: BenchStack, fleet: NodePool) -> float:
    """Return the seconds of `kwokctl scale` for all nodes, and for all slices.

    It fills in nothing but names: the same UUIDs are on every node, and no slice has an owner.
    """
    [slice_] = resource_slices(fleet, POOL)
    templates = {"node": template(node(fleet, POOL)), "resourceslice": template(slice_)}
    file = stack.project.folder / "templates.yaml"
    file.write_text(yaml.safe_dump_all(scalable(kind, text) for kind, text in templates.items()))
    command = ["kwokctl", "--name", f"kwok-dra-{STACK}", "--config", str(file), "scale"]
    flags = ["--replicas", str(fleet.nodes), "--serial-length", "1"]
    return sum(seconds(stack.project.run, *command, kind, POOL, *flags) for kind in templates)


def template(manifest: Entry) -> str:
    """Make a template of an object of the node that is called as the pool is; names are `{{ Name }}` there."""
    return json.dumps(manifest).replace(f'"{POOL}"', '"{{ Name }}"')


def scalable(kind: str, text: str) -> Entry:
    """Render what makes `kwokctl scale` know a kind of objects."""
    return {
        "apiVersion": "config.kwok.x-k8s.io/v1alpha1",
        "kind": "KwokctlResource",
        "metadata": {"name": kind},
        "parameters": {},
        "template": text,
    }


def parallel_posts(stack: BenchStack, fleet: NodePool) -> float:
    """Return the seconds of one POST per object over a few connections at once: about what the API server can take."""
    post = partial(_post, _connections(Path(stack.project.outputs()["kubeconfigPath"])))
    nodes = [json.dumps(node(fleet, name)) for name in fleet.node_names()]
    owned = [(name, json.dumps(entry)) for name in fleet.node_names() for entry in slices(fleet, name, UID)]

    def post_all() -> None:
        with ThreadPoolExecutor(CONNECTIONS) as executor:
            made = executor.map(partial(post, NODES), nodes)
            uids = {entry["metadata"]["name"]: entry["metadata"]["uid"] for entry in made}
            list(executor.map(partial(post, SLICES), (body.replace(UID, uids[name]) for name, body in owned)))

    return seconds(post_all)


def _connections(kubeconfig: Path) -> urllib3.HTTPSConnectionPool:
    content = yaml.safe_load(kubeconfig.read_text())
    cluster, user = content["clusters"][0]["cluster"], content["users"][0]["user"]
    server = urllib3.util.parse_url(cluster["server"])
    return urllib3.HTTPSConnectionPool(
        str(server.host),
        server.port,
        maxsize=CONNECTIONS,
        block=True,
        ca_certs=cluster["certificate-authority"],
        cert_file=user["client-certificate"],
        key_file=user["client-key"],
    )


def _post(connections: urllib3.HTTPSConnectionPool, path: str, body: str) -> Entry:
    answer = connections.request("POST", path, body=body.encode(), headers={"Content-Type": "application/json"})
    assert answer.status == 201, answer.data
    made: Entry = answer.json()
    return made


def slices(fleet: NodePool, name: str, uid: str) -> list[Entry]:
    """Render the slices of a node as the program does, with their owner."""
    rendered = resource_slices(fleet, name)
    for entry in rendered:
        if is_owned_by_node(fleet, entry["spec"]["driver"]):
            entry["metadata"]["ownerReferences"] = [owner_reference(name, uid)]
    return rendered


def uids_of_nodes(stack: BenchStack) -> Mapping[str, str]:
    """Return the uid of each node by name."""
    columns = '{range .items[*]}{.metadata.name} {.metadata.uid}{"\\n"}{end}'
    lines = stack.project.run("kubectl", "get", "nodes", "--output", f"jsonpath={columns}").stdout.splitlines()
    return dict(line.split() for line in lines)


PEERS: Mapping[Quantity, tuple[Callable[[BenchStack, NodePool], float], Tuning]] = {
    KUBECTL: (kubectl_create, "stock"),
    SCALE: (kwokctl_scale, "stock"),
    POSTS: (parallel_posts, "fleet"),
}
"""Each way and the control plane that it has: users have kwokctl's, and the limit is that of ours."""
