"""Kills at events: whatever is interrupted, the same command again brings the stack to where it should be.

Each event is met once, as the tracer holds the program when it comes to it. `make soak` kills everywhere else.
"""

from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.project import Project
from tests.soak.killing import DESTROY, NODES, UP, Kills, assert_gone, assert_up, configure
from tests.soak.phases import damage

CREATE = "python -m commands.kwok_cluster create"
UPDATE = "python -m commands.kwok_cluster update"
DELETE = "python -m commands.kwok_cluster delete"
PROGRAM = "python *pulumi-language-python-exec *"
PULUMI = "pulumi"
APPLYING = "python -m commands.batch"
MAKING = "kwokctl * create *"
DELETING = "kwokctl * delete *"
WRITE = "^write$"
SOCKET = "^socket:"
NOTE = r"/kwok-dra\.new$"
COMMAND_IS_THERE = r'"id":\s*"[^"]+",\s*"type":\s*"command:local:Command"'

Events = dict[str, dict[str, Any]]
"""What is killed, and where: the fields of `Point`. No event hangs on how far something else has come by then."""

CREATE_EVENTS: Events = {
    "the lock is created, not written": {"killed": PULUMI, "operation": WRITE, "path": r"/locks/.*\.tmp$"},
    "the state is created, not written": {"killed": PULUMI, "operation": WRITE, "path": r"/stacks/.*\.tmp$"},
    "the cluster has a folder, not a note": {"killed": CREATE, "path": NOTE},
    "kwokctl's document is emptied": {"killed": MAKING, "operation": WRITE, "path": r"/kwok\.yaml$", "nth": 2},
    "a component runs and is not noted": {
        "killed": MAKING,
        "path": r"/pids/kube-apiserver\.pid$",
        "whole_session": True,
    },
    "the shared kubeconfig is emptied": {"killed": MAKING, "operation": WRITE, "path": "/kwok/kubeconfig$", "nth": 2},
    "the cluster is there, which is not noted": {"killed": CREATE, "path": NOTE, "content": '"created"'},
    "the cluster is there, but not in the state": {"killed": PULUMI, "path": "/stacks/", "content": COMMAND_IS_THERE},
    "the cluster is in the state, which is not noted": {"killed": PROGRAM, "path": NOTE, "whole_session": True},
    "some nodes are made": {"killed": f"{APPLYING} create", "operation": WRITE, "path": SOCKET, "nth": 12},
    "a workload is announced": {"killed": PULUMI, "path": "/log$", "content": "Deployment fake-pod created"},
    "the history is created, not written": {"killed": PULUMI, "operation": WRITE, "path": r"/history/.*\.tmp$"},
}

CHANGE_EVENTS: Events = {
    "a copy of the state is created, not written": {
        "killed": PULUMI,
        "operation": "copy_file_range",
        "path": "/stacks/",
    },
    "the state is written, not in its place": {"killed": PULUMI, "operation": "^rename", "path": r"/dev\.json$"},
    "what is gone is about to be deleted": {"killed": "python -m commands.removals", "path": "", "nth": 0},
    "some nodes are made": {"killed": f"{APPLYING} update", "operation": WRITE, "path": SOCKET, "nth": 5},
    "all is done, and the lock is there": {"killed": PULUMI, "operation": "^unlink", "path": r"/locks/.*\.json$"},
}

REPAIR_EVENTS: Events = {
    "the kubeconfig is not written": {"killed": UPDATE, "operation": WRITE, "path": r"/kubeconfig\.new$"},
    "a component runs and is not noted": {"killed": "kwokctl * start *", "path": r"/pids/kube-apiserver\.pid$"},
    "it is repaired, which is not noted": {"killed": UPDATE, "path": NOTE, "content": '"broken": false'},
}

REPLACE_EVENTS: Events = {
    "the removal is not noted": {"killed": DELETE, "operation": WRITE, "path": r"\.removing\.new$"},
    "the shared kubeconfig is emptied": {"killed": DELETING, "operation": WRITE, "path": "/kwok/kubeconfig$"},
    "all files are deleted": {"killed": DELETING, "path": "/clusters/kwok-dra-dev$", "nth": 3},
    "the removal is done, which is not noted": {"killed": DELETE, "path": r"\.removing\.json$", "operation": "^unlink"},
    "the first object is to be made": {"killed": PULUMI, "path": "/log$", "content": "DeviceClass kwok.x-k8s.io creat"},
    "the last object is to be made": {"killed": PULUMI, "path": "/log$", "content": "Deployment fake-pod creat"},
}

DESTROY_EVENTS: Events = {
    "some files are deleted": {"killed": DELETING, "path": "/clusters/kwok-dra-dev/", "nth": 15, "whole_session": True},
    "kubectl's cache is half deleted": {"killed": DELETE, "operation": "^unlink", "path": "/kubectl-cache/", "nth": 2},
    "the end is announced": {"killed": PULUMI, "path": "/log$", "content": "Command kwok-dra-dev deleted"},
}

WRITTEN_IN_PLACE = {"killed": PULUMI, "operation": WRITE, "path": r"/stacks/.*/dev\.json(\.attrs)?$"}
"""The state, or what the backend keeps beside it, is created and not yet written: with metadata=skip that never is."""


@pytest.fixture(scope="module")
def kills(new_project: Callable[[], Project]) -> Kills:
    """Return a project whose commands are killed."""
    return Kills(new_project())


def interrupt(kills: Kills, command: tuple[str, ...], events: Events) -> None:
    """Run the command, which is killed at each event, and in the end is not."""
    for name, event in events.items():
        hit = kills.at(command, **event)
        assert hit, f"it does not come so far: {name}\n{kills.project.log.read_text()}"
        print(f"{name}: {hit.name} {hit.path}", flush=True)
    kills.again(command)


def test_kills_at_events(kills: Kills) -> None:
    project = kills.project
    configure(project, NODES, old_api=True)
    interrupt(kills, UP, CREATE_EVENTS)
    assert_up(project, NODES)
    for number, (name, event) in enumerate(CHANGE_EVENTS.items(), NODES + 1):
        configure(project, number, old_api=True)
        interrupt(kills, UP, {name: event})
    assert_up(project, NODES + len(CHANGE_EVENTS))
    damage(project)
    interrupt(kills, UP, REPAIR_EVENTS)
    assert_up(project, NODES + len(CHANGE_EVENTS))
    configure(project, NODES, old_api=False)
    interrupt(kills, UP, REPLACE_EVENTS)
    assert_up(project, NODES)
    hit = kills.at(UP, **WRITTEN_IN_PLACE)
    kills.again(UP)
    assert not hit
    interrupt(kills, DESTROY, DESTROY_EVENTS)
    assert_gone(project)
