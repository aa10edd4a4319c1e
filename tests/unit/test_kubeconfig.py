"""Kubeconfigs of one context: the same as kubectl prints, and what is refused."""

import base64
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.api.kubeconfig import KubeconfigError, contexts, of_context


def write(folder: Path, cluster: dict[str, Any] | None = None, user: dict[str, Any] | None = None) -> Path:
    file = folder / "config"
    server = {"server": "https://10.0.0.1:6443"}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "prod",
        "contexts": [
            {"name": "prod", "context": {"cluster": "prod", "user": "root"}},
            {"name": "lab", "context": {"cluster": "lab-1", "user": "me", "namespace": "mine"}},
        ],
        "clusters": [{"name": "prod", "cluster": server}, {"name": "lab-1", "cluster": server | (cluster or {})}],
        "users": [{"name": "root", "user": {"token": "of root"}}, {"name": "me", "user": user or {"token": "mine"}}],
    }
    file.write_text(yaml.safe_dump(content))
    return file


def test_the_contexts_of_a_file(tmp_path: Path) -> None:
    assert contexts(write(tmp_path)) == ["prod", "lab"]


def test_one_context_and_nothing_of_the_others(tmp_path: Path) -> None:
    assert of_context(write(tmp_path), "lab") == {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "lab",
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab"}}],
        "clusters": [{"name": "lab", "cluster": {"server": "https://10.0.0.1:6443"}}],
        "users": [{"name": "lab", "user": {"token": "mine"}}],
    }


def test_files_are_taken_in_by_their_path_from_the_kubeconfig(tmp_path: Path) -> None:
    names = ("certificate-authority", "client-certificate", "client-key")
    for name in names:
        (tmp_path / name).write_text(f"of {name}")
    file = write(tmp_path, {names[0]: names[0]}, {names[1]: names[1], names[2]: str(tmp_path / names[2])})
    made = of_context(file, "lab")
    found = made["clusters"][0]["cluster"] | made["users"][0]["user"]
    assert {name: base64.b64decode(found[f"{name}-data"]).decode() for name in names} == {
        name: f"of {name}" for name in names
    }
    assert not found.keys() & set(names)


def test_data_override_files(tmp_path: Path) -> None:
    """As in client-go."""
    file = write(tmp_path, {"certificate-authority": "gone", "certificate-authority-data": "eA=="})
    assert of_context(file, "lab")["clusters"][0]["cluster"]["certificate-authority-data"] == "eA=="


@pytest.mark.parametrize(("command", "found"), [("./bin/give", "bin/give"), ("give", None), ("/bin/give", None)])
def test_programs_and_tokens_are_found_from_elsewhere(tmp_path: Path, command: str, found: str | None) -> None:
    user = {"exec": {"command": command, "args": ["a"]}, "tokenFile": "token"}
    made = of_context(write(tmp_path, user=user), "lab")["users"][0]["user"]
    assert made["exec"] == {"command": str(tmp_path / found) if found else command, "args": ["a"]}
    assert made["tokenFile"] == str(tmp_path / "token")


@pytest.mark.parametrize(
    ("cluster", "user", "message"),
    [
        ({"server": "http://10.0.0.1"}, {}, "the server of context 'lab' must be an address that begins with https://"),
        ({"server": ""}, {}, "the server of context 'lab' must be an address that begins with https://"),
        ({"insecure-skip-tls-verify": True}, {}, "its cluster has insecure-skip-tls-verify, which is not supported"),
        ({"proxy-url": "http://a"}, {}, "its cluster has proxy-url, which is not supported"),
        ({}, {"username": "a", "password": "b"}, "its user has password, username, which is not supported"),
        ({}, {"auth-provider": {"name": "gcp"}}, "its user has auth-provider, which is not supported"),
        ({}, {"as": "admin"}, "its user has as, which is not supported"),
        ({"certificate-authority": "gone"}, {}, "its certificate-authority 'gone' cannot be read: No such file"),
    ],
)
def test_what_is_not_known_is_refused(
    tmp_path: Path, cluster: dict[str, Any], user: dict[str, Any], message: str
) -> None:
    """Otherwise this program would connect to the cluster in another way than the user's other programs do."""
    with pytest.raises(KubeconfigError, match=message):
        of_context(write(tmp_path, cluster, user), "lab")


def test_what_is_said_to_be_off_is_no_matter(tmp_path: Path) -> None:
    assert of_context(write(tmp_path, {"insecure-skip-tls-verify": False, "proxy-url": ""}), "lab")


@pytest.mark.parametrize("content", ["", "[]", "a: [", "contexts: none", "contexts: [{name: a}]"])
def test_a_file_that_is_no_kubeconfig(tmp_path: Path, content: str) -> None:
    file = tmp_path / "config"
    file.write_text(content)
    with pytest.raises(KubeconfigError, match=str(file)):
        contexts(file)


def test_a_context_of_nothing(tmp_path: Path) -> None:
    file = write(tmp_path)
    file.write_text(file.read_text().replace("cluster: lab-1", "cluster: gone"))
    with pytest.raises(KubeconfigError, match="there is no cluster 'gone'"):
        of_context(file, "lab")
