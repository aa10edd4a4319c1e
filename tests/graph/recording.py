"""Runs the program without an engine and records its requests to the engine."""

import asyncio
import contextvars
import json
import runpy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, NamedTuple
from unittest import mock

import pulumi
import yaml
from pulumi.runtime import mocks, rpc
from pulumi.runtime.proto import engine_pb2
from pulumi.runtime.settings import Settings, configure
from pulumi.runtime.stack import run_in_stack

from cluster.api import snapshot
from cluster.api.api_server import ApiServer
from cluster.fleet import drift
from cluster.local.kwok_cluster import Condition
from topology.status.workload_progress import Expected

ROOT = Path(__file__).resolve().parents[2]
KUBECONFIG = "/state/kwok/clusters/kwok-dra-dev/kubeconfig.yaml"
DEVICE = {"request": "gpu", "driver": "gpu.example.com", "pool": "a-node", "device": "gpu-0"}
READING = "reading"
"""The entry in `Recording.order` for a reading of the cluster."""

SECRET = ("4dabf18193072939515e22adb298388d", "1b47061264138c4ac30d75fd1eb44270")  # how the SDK marks one on the wire

Configuration = dict[str, Any]


class Secret(NamedTuple):
    """A value that the engine keeps secret."""

    value: object


@dataclass
class Registration:
    """The registration of one resource; other resources are named `<kind> <name>`."""

    parent: str
    custom: bool
    inputs: dict[str, Any]
    dependencies: set[str]
    provider: str
    deleted_with: str
    retain_on_delete: bool
    delete_before_replace: bool
    replace_on_changes: list[str]
    replacement_trigger: object
    replace_with: set[str]
    secret_outputs: list[str]


@dataclass
class Recording:
    """What a program registered, in order."""

    resources: dict[str, Registration] = field(default_factory=dict)
    outputs: dict[str, Any] = field(default_factory=dict)
    readings: list[tuple[str, ...]] = field(default_factory=list)
    """The kinds of objects, for each reading of the cluster."""
    waited_for: list[Expected] = field(default_factory=list)
    gives_up: bool = False
    """Whether it would wait no longer when nothing can change."""
    order: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    infos: list[str] = field(default_factory=list)

    def of_kind(self, *kinds: str) -> dict[str, Registration]:
        """Return the resources of these kinds by name."""
        return {key.split(" ")[1]: found for key, found in self.resources.items() if key.split(" ")[0] in kinds}

    def objects(self) -> dict[str, Registration]:
        """Return the Kubernetes objects."""
        return {key: found for key, found in self.resources.items() if "apiVersion" in found.inputs}


def live_objects(made: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the live objects soon after the creation of a Deployment, Job or Pod: pods whose claims are allocated.

    The pods run; those of a Job have completed.
    """
    metadata = made["metadata"] | {"uid": f"uid of {made['metadata']['name']}", "generation": 1}
    if made["kind"] == "Pod":
        return _live_pod(metadata, made["spec"], "Running")
    spec = made["spec"]
    count = int(spec["replicas"] if made["kind"] == "Deployment" else spec["completions"])
    status = {"observedGeneration": 1, "updatedReplicas": count}
    owner = {"ownerReferences": [{"kind": made["kind"], "name": metadata["name"], "uid": metadata["uid"]}]}
    return [
        {"kind": made["kind"], "metadata": metadata, "spec": spec, "status": status},
        *(
            entry
            for index in range(count)
            for entry in _live_pod(
                metadata | spec["template"]["metadata"] | owner | {"name": f"{metadata['name']}-{index}"},
                spec["template"]["spec"],
                "Succeeded" if made["kind"] == "Job" else "Running",
            )
        ),
    ]


def _live_pod(metadata: dict[str, Any], spec: dict[str, Any], phase: str) -> list[dict[str, Any]]:
    names = {
        claim["name"]: claim.get("resourceClaimName") or f"{metadata['name']}-{claim['name']}"
        for claim in spec.get("resourceClaims", [])
    }
    resource_names = [{"name": name, "resourceClaimName": claim} for name, claim in names.items()]
    return [
        {
            "kind": "Pod",
            "metadata": metadata,
            "spec": spec | {"nodeName": "a-node"},
            "status": {"phase": phase, "resourceClaimStatuses": resource_names},
        },
        *(
            {
                "kind": "ResourceClaim",
                "metadata": {"name": name, "namespace": metadata["namespace"]},
                "spec": {},
                "status": {"allocation": {"devices": {"results": [DEVICE]}}},
            }
            for name in names.values()
        ),
    ]


class _Provider(mocks.Mocks):
    """The plugins: clusters exist and workloads run at once."""

    def __init__(self, unknown: bool) -> None:
        self.unknown = unknown

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        if self.unknown:
            return None, args.inputs
        printed = {"kubeconfig": "certificates", "kubeconfigPath": KUBECONFIG, "workdir": "/state/kwok"}
        made = {"stdout": json.dumps(printed)} if args.typ == "command:local:Command" else {}
        if first := args.inputs.get("environment", {}).get("KWOK_DRA_FIRST_GENERATION"):
            made = {"stdout": first}
        if "apiVersion" in args.inputs:
            made = {"metadata": args.inputs["metadata"] | {"uid": f"uid of {args.name}"}}
        return f"id of {args.name}", args.inputs | made

    def call(self, args: mocks.MockCallArgs) -> tuple[dict[str, Any], list[tuple[str, str]] | None]:
        raise AssertionError(f"{args.token} is called, but the program needs no function")


class _Cluster:
    """The cluster with its `objects`, by default those that the workloads create (None: it does not answer)."""

    def __init__(self, recording: Recording, objects: Sequence[Any] | Literal["all"] | None) -> None:
        self.recording = recording
        self.objects = objects

    def read(self, api: ApiServer, kinds: Sequence[str]) -> Sequence[Any] | None:
        """Replace `snapshot.read`."""
        self.recording.readings.append(tuple(kinds))
        self.recording.order.append(READING)
        if self.objects != "all":
            return self.objects
        made = self.recording.of_kind("Deployment", "Job", "Pod").values()
        return [entry for found in made for entry in live_objects(found.inputs)]

    def settled_objects(
        self, api: ApiServer, kinds: Sequence[str], objects: Any, expected: Sequence[Expected], *more: object
    ) -> Any:
        """Replace `waiting.settled_objects`, without waiting."""
        self.recording.waited_for += expected
        self.recording.gives_up = more[-1] is not None
        return objects


class _Engine(mocks.MockMonitor):
    """The engine's side: `Mocks` alone would not see the options of a resource."""

    def __init__(self, recording: Recording, unknown: bool) -> None:
        super().__init__(_Provider(unknown))
        self.recording = recording

    def make_urn(self, parent: str, type_: str, name: str) -> str:
        """Name the resource as the SDK's mock does, which does not know the stack in its threads."""
        return f"urn:pulumi:dev::kwok-dra::{type_}::{name}"

    def RegisterResource(self, request: Any) -> Any:
        key = _key(self.make_urn(request.parent, request.type, request.name))
        assert key not in self.recording.resources, f"{key} is registered twice"
        self.recording.order.append(key)
        self.recording.resources[key] = Registration(
            parent=_key(request.parent),
            custom=request.custom,
            inputs=_plain(rpc.deserialize_properties(request.object)),
            dependencies={_key(urn) for urn in request.dependencies},
            provider=request.provider,
            deleted_with=_key(request.deletedWith),
            retain_on_delete=request.retainOnDelete,
            delete_before_replace=request.deleteBeforeReplace,
            replace_on_changes=list(request.replaceOnChanges),
            replacement_trigger=request.replacement_trigger.string_value,
            replace_with={_key(urn) for urn in request.replace_with},
            secret_outputs=list(request.additionalSecretOutputs),
        )
        return super().RegisterResource(request)  # type: ignore[no-untyped-call]

    def RegisterResourceOutputs(self, request: Any) -> Any:
        self.recording.outputs[_key(request.urn)] = _plain(rpc.deserialize_properties(request.outputs))
        return super().RegisterResourceOutputs(request)  # type: ignore[no-untyped-call]


class _Log(mocks.MockEngine):
    """The messages that the engine shows to the user."""

    def __init__(self, recording: Recording) -> None:
        super().__init__(None)
        self.recording = recording

    def Log(self, request: Any) -> None:
        if request.severity == engine_pb2.WARNING:
            self.recording.warnings.append(request.message)
        if request.severity == engine_pb2.INFO:
            self.recording.infos.append(request.message)


def _key(urn: str) -> str:
    return " ".join(urn.split(":")[-3::2]) if urn else ""


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        plain = {key: _plain(entry) for key, entry in value.items()}
        return Secret(plain["value"]) if plain.get(SECRET[0]) == SECRET[1] else plain
    return [_plain(entry) for entry in value] if isinstance(value, list) else value


def stack_configuration(name: str) -> Configuration:
    """Return the configuration in the file of a committed stack."""
    found: Configuration = yaml.safe_load((ROOT / "stacks" / f"Pulumi.{name}.yaml").read_text())["config"]
    return found


def the_program() -> None:
    """Run `__main__.py` as Pulumi's language host does."""
    runpy.run_path(str(ROOT / "__main__.py"), run_name="__main__")


def run(
    configuration: Mapping[str, object],
    program: Callable[[], None] = the_program,
    *,
    preview: bool = False,
    unknown: bool = False,
    objects: Sequence[Any] | Literal["all"] | None = "all",
    recording: Recording | None = None,
) -> Recording:
    """Run a program to its end, including all outputs; raise what it raises.

    With `unknown` it is a first preview: nothing exists, so no output of a resource is known. `objects` are those in
    the cluster, by default pods that all run; None means that the cluster does not answer. A caller that passes its
    own `recording` can see what the program registered before an error.
    """
    recording = recording or Recording()
    cluster = _Cluster(recording, objects)

    def in_fresh_context() -> None:
        configure(
            Settings(
                monitor=_Engine(recording, unknown),
                engine=_Log(recording),
                project="kwok-dra",
                stack="dev",
                organization="organization",
                dry_run=preview,
            )
        )
        pulumi.runtime.set_all_config({key: json.dumps(value) for key, value in configuration.items()})
        asyncio.run(in_stack())

    async def in_stack() -> None:
        # `run` raises the program's exception; asyncio would also print it for each output that nobody awaited.
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        await run_in_stack(program)

    # The SDK keeps its state in context variables: another context, filled anew, is another program. (`set_mocks` would
    # keep the outputs that a failed program did not await.)
    with (
        mock.patch.object(snapshot, "read", cluster.read),
        mock.patch.object(drift, "heal", return_value=False),
        mock.patch("cluster.local.kwok_cluster.condition", return_value=Condition("an id", 0)),
        mock.patch("components.claim_status.settled_objects", cluster.settled_objects),
        # Each reading of this clock is an hour later: the program reads a cluster that does not answer only once.
        mock.patch("components.claim_status.time", SimpleNamespace(monotonic=count(0, 3600).__next__)),
    ):
        contextvars.copy_context().run(in_fresh_context)
    return recording
