"""Random configurations: each is refused with clear errors, or the API server accepts all that is rendered of it.

Nothing is stored: the objects are sent in server-side dry runs, to a cluster with every feature on.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cluster.api.api_server import NODES, NOT_FOUND, ApiServer, RefusedError, at_once
from cluster.fleet.provisioning import NodeProvisioner, create_slice
from tests.e2e.project import Project, wait_until
from tests.hostile import try_all
from tests.rendering import rendered
from tests.topologies import OWN_NAMESPACES, Configuration, configurations
from topology.checks.validation import ConfigurationError, load
from topology.kubernetes.api_versions import RESOURCE_API_VERSIONS
from topology.kubernetes.feature_gates import FEATURES, gates_for, runtime_config_for
from topology.kubernetes.objects import Manifest
from topology.objects import nodes
from topology.objects.namespaces import ADMIN_ACCESS_LABEL
from topology.schema.stack import Topology

MINOR = 37
PLURALS = {"DeviceClass": "deviceclasses"}
DRY_RUN = "dryRun=All&fieldValidation=Strict"
CONFIGURATIONS = 900


@pytest.fixture(scope="module")
def api(new_project: Callable[[], Project]) -> Iterator[ApiServer]:
    """Return the API server of a cluster with every feature, in which there are the namespaces."""
    project = new_project()
    with project.configuration() as config:
        config.clear()
        config["cluster"] = {
            "kubeFeatureGates": gates_for(FEATURES, MINOR),
            "kubeRuntimeConfig": {
                api: True for version in RESOURCE_API_VERSIONS for api in runtime_config_for(FEATURES, version, MINOR)
            },
        }
    project.up()
    server = ApiServer(Path(project.outputs()["kubeconfigPath"]))
    for name in OWN_NAMESPACES:
        metadata = {"name": name, "labels": ADMIN_ACCESS_LABEL}
        server.send("POST", "/api/v1/namespaces", {"metadata": metadata}).checked()
        account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
        wait_until(lambda path=account: server.get(path).status != NOT_FOUND)  # type: ignore[misc]
    yield server
    server.close()
    project.destroy()


def test_what_is_accepted_the_api_server_accepts_too(api: ApiServer) -> None:
    seen: Counter[str] = Counter()

    def check(configuration: Configuration) -> None:
        try:
            topology = load(configuration)
        except ConfigurationError as error:
            seen["refused"] += 1
            assert all(problem.path and problem.message for problem in error.problems)
            return
        seen["accepted"] += 1
        manifests = rendered(topology)
        seen["objects"] += len(manifests)
        with declared_nodes(api, topology):
            at_once(lambda manifest: send(api, manifest), manifests)

    try_all(configurations(), check, CONFIGURATIONS)
    print(dict(seen))
    assert seen["objects"] >= 5_000
    assert seen["accepted"] > CONFIGURATIONS / 2
    assert seen["refused"] > CONFIGURATIONS / 20


@contextmanager
def declared_nodes(api: ApiServer, topology: Topology) -> Iterator[None]:
    """Make the nodes whose features the API server looks at when their slices are made."""
    pools = [pool for pool in topology.node_pools if nodes.declared_features(pool)]
    made = [NodeProvisioner(pool, {}, minor=MINOR).node(name) for pool in pools for name in pool.node_names()]
    try:
        for node in made:
            api.send("POST", NODES, node).checked()
        yield
    finally:
        for node in made:
            api.send("DELETE", f"{NODES}/{node['metadata']['name']}").checked(NOT_FOUND)


def send(api: ApiServer, manifest: Manifest) -> None:
    """Have the API server check an object; what is there already it finds out after that."""
    try:
        create_slice(api, f"{path(manifest)}?{DRY_RUN}", manifest)
    except RefusedError as error:
        raise AssertionError(f"{error}: {manifest}") from None


def path(manifest: Manifest) -> str:
    """Return the path of an object's kind."""
    version, kind, namespace = manifest["apiVersion"], manifest["kind"], manifest["metadata"].get("namespace")
    prefix = f"/apis/{version}" if "/" in version else f"/api/{version}"
    plural = PLURALS.get(kind, f"{kind.lower()}s")
    return f"{prefix}/namespaces/{namespace}/{plural}" if namespace else f"{prefix}/{plural}"
