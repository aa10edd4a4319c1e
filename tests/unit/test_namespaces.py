"""The namespaces that a stack creates, and the service accounts that bare pods need there."""

from typing import Any

import pytest

from topology.checks.validation import load
from topology.objects.namespaces import namespaces, service_accounts

Configuration = dict[str, Any]

ADMIN = {"resource.kubernetes.io/admin-access": "true"}


def claim(name: str, admin: bool = False) -> Configuration:
    """Return a claim with two requests, the second with admin access."""
    second = {"adminAccess": True} if admin else {}
    requests = [{"name": name, "deviceClass": "gpu"} | more for name, more in (("a", {}), ("b", second))]
    return {"name": name, "requests": requests}


def workload(name: str, *claims: Configuration, **values: Any) -> Configuration:
    return {"name": name, "replicas": 0, "claims": list(claims)} | values


@pytest.mark.parametrize(
    ("workloads", "shared", "expected"),
    [
        ([], [], {}),
        ([workload("w", claim("c"))], [claim("s")], {}),
        ([workload("w", claim("c"), namespace="n")], [], {"n": None}),
        ([workload("w", namespace="n", containers=[{"name": "x", "resources": {"a.b/c": 1}}])], [], {"n": None}),
        ([], [claim("s") | {"namespace": "n"}], {"n": None}),
        # One request with admin access is enough, first or last.
        ([workload("w", claim("c", admin=True), claim("d"), namespace="n")], [], {"n": ADMIN}),
        ([workload("w", claim("c"), claim("d", admin=True), namespace="n")], [], {"n": ADMIN}),
        ([workload("w", claim("c"), namespace="n")], [claim("s", admin=True) | {"namespace": "n"}], {"n": ADMIN}),
        (
            [workload("v", claim("c", admin=True), namespace="n"), workload("w", claim("c"), namespace="n")],
            [claim("s") | {"namespace": "m"}, claim("s") | {"namespace": "n"}],
            {"m": None, "n": ADMIN},
        ),
    ],
)
def test_namespaces(
    workloads: list[Configuration], shared: list[Configuration], expected: dict[str, dict[str, str] | None]
) -> None:
    classes = [{"name": "gpu", "selectors": []}]
    topology = load({"cluster": {"name": "x"}, "deviceClasses": classes, "workloads": workloads, "claims": shared})
    made = namespaces(topology)
    assert [(entry["apiVersion"], entry["kind"]) for entry in made] == [("v1", "Namespace")] * len(expected)
    labels = [(entry["metadata"]["name"], entry["metadata"].get("labels")) for entry in made]
    assert labels == sorted(expected.items())


def test_service_accounts_of_bare_pods() -> None:
    """One service account per namespace with bare pods; the controllers of other pods retry until it exists."""
    users: list[tuple[str, Configuration]] = [
        ("a", {"kind": "Pod"}),
        ("b", {"kind": "Pod", "namespace": "n"}),
        ("c", {"kind": "Pod", "namespace": "n"}),
        ("d", {"kind": "Job", "namespace": "m"}),
        ("e", {"namespace": "l"}),
    ]
    workloads = [workload(name, claim("c"), **values) for name, values in users]
    classes = [{"name": "gpu", "selectors": []}]
    topology = load({"cluster": {"name": "x"}, "deviceClasses": classes, "workloads": workloads})
    made = service_accounts(topology)
    assert [(entry["apiVersion"], entry["kind"]) for entry in made] == [("v1", "ServiceAccount")] * 2
    assert [entry["metadata"] for entry in made] == [
        {"name": "default", "namespace": "default"},
        {"name": "default", "namespace": "n"},
    ]
