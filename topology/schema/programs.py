"""Programs that run beside the cluster's own components: schedulers and controllers."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from shutil import which
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BeforeValidator, Field, InstanceOf, ValidationInfo, model_validator

from topology.kubernetes.objects import DEFAULT_SCHEDULER, Manifest
from topology.kubernetes.reading import entries, part
from topology.schema.base import Model
from topology.schema.manifests import ManifestFile, read_manifests
from topology.schema.user_files import UnreadableError, content, parsed
from topology.schema.values import EACH_ONCE, DnsLabel, DnsSubdomain, problem, shown

_KINDS: Mapping[type, str] = {dict: "mapping", list: "list"}

ComponentName = Annotated[DnsLabel, Field(max_length=48)]
"""The name of a component of the cluster, of its log and of its folder."""

FILTERING_ARGUMENTS = {"addedAffinity", "defaultConstraints", "ignoredResourceGroups", "ignoredResources"}
"""The arguments of plugins with which other nodes fit.

https://kubernetes.io/docs/reference/config-api/kube-scheduler-config.v1/
"""

FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]


def _mapping(value: object, info: ValidationInfo) -> object:
    """Read a mapping from the YAML file that a string names."""
    if not isinstance(value, str):
        return value
    try:
        read = parsed(value, lambda: yaml.safe_load(content((info.context or {})["folder"], value)))
    except UnreadableError as error:
        raise problem(str(error)) from None
    if not isinstance(read, dict):
        raise problem(f"{value!r} must contain a mapping, but contains {shown(read)}")
    return read


InlineOrFile = Annotated[dict[str, Any], BeforeValidator(_mapping)]
"""A mapping, written in the stack or in a YAML file of the project."""


def located(binary: str, folder: Path) -> str:
    """Return the absolute path of a program, a file relative to `folder` or a name on PATH; empty if there is none."""
    found = which(str((folder / binary).absolute()) if os.sep in binary else binary)
    return str(Path(found).absolute()) if found else ""


class Program(Model):
    """A program of the user's own: `binary`, a path in the project or a name on PATH, with `args` and `env`.

    In these and in `files`, which are written into `{folder}` before it starts, `{kubeconfig}` is the path of an
    administrator's kubeconfig, `{server}` the URL of the API server, `{certificates}` a folder with `tls.crt`,
    `tls.key` and `ca.crt`, both of that administrator and for servers on 127.0.0.1, `{port}` or `{port.<name>}` a free
    port of 127.0.0.1, and `{project}` the folder of the project. KUBECONFIG is set.
    """

    name: ComponentName
    binary: Annotated[str, Field(min_length=1)] | None = None
    args: list[str] = []
    env: dict[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")], str] = {}
    files: dict[FileName, str | dict[str, Any]] = {}

    @model_validator(mode="after")
    def _runs_a_binary(self) -> Self:
        if not self.binary and (extra := [key for key in ("args", "env", "files") if getattr(self, key)]):
            raise problem(f"has {' and '.join(extra)} without binary: set binary, or remove {' and '.join(extra)}")
        return self


class Scheduler(Program):
    """A scheduler: kube-scheduler with a KubeSchedulerConfiguration, `config`, or a program of the user's own.

    The one with the name `default-scheduler` is the cluster's own kube-scheduler; every other is one more process.
    Pods name a scheduler by one of its `scheduler_names`: those of the profiles, of which the first is named like the
    scheduler if it says nothing else; those that a program of the user's own serves, by default its `name`.
    https://kubernetes.io/docs/reference/scheduling/config/
    """

    config: InlineOrFile = {}
    scheduler_names: Annotated[list[DnsSubdomain], Field(min_length=1), EACH_ONCE] | None = None

    @property
    def profiles(self) -> list[Mapping[str, Any]]:
        """The profiles of kube-scheduler, each with its name."""
        return [{"schedulerName": self.name, **profile} for profile in entries(self.config, "profiles") or [{}]]

    @property
    def served(self) -> list[str]:
        """The names by which pods choose it."""
        if self.binary:
            return self.scheduler_names or [self.name]
        return [str(profile["schedulerName"]) for profile in self.profiles]

    @property
    def filters_as_stock(self) -> bool:
        """Whether it finds the same nodes fit as kube-scheduler with its defaults; it may rank them otherwise."""
        said = {point for profile in self.profiles for point in part(profile, "plugins") or ()}
        said -= {"score", "preScore", "queueSort"}
        arguments = [part(entry, "args") for profile in self.profiles for entry in entries(profile, "pluginConfig")]
        said |= {name for given in arguments if isinstance(given, dict) for name in FILTERING_ARGUMENTS & given.keys()}
        return not self.binary and not self.config.get("extenders") and not said

    @model_validator(mode="after")
    def _is_one_of_two(self) -> Self:
        if self.binary and self.config:
            raise problem("has binary and config, but config is that of kube-scheduler: remove one of the two")
        if self.scheduler_names and not self.binary:
            raise problem("has schedulerNames, but those of kube-scheduler are in its profiles: remove schedulerNames")
        if self.binary and self.name == DEFAULT_SCHEDULER:
            raise problem(
                f"replaces {DEFAULT_SCHEDULER} by a program, but the cluster's own kube-scheduler serves that name: "
                "give the scheduler another name, and name it in workloads[].scheduler"
            )
        return self

    @model_validator(mode="after")
    def _has_the_kind_of_kube_scheduler(self) -> Self:
        kind = self.config.get("kind", "KubeSchedulerConfiguration")
        if kind != "KubeSchedulerConfiguration":
            raise problem(f"config is a {shown(kind)}, but must be a KubeSchedulerConfiguration")
        for path, value, type_ in self._parts():
            if not isinstance(value, type_):
                raise problem(f"{path} must be a {_KINDS[type_]}, but is {shown(value)}")
        return self

    def _parts(self) -> Iterator[tuple[str, Any, type]]:
        """Yield what is read of `config` here, with its path and its type; kube-scheduler tells what else is wrong."""
        for key in ("clientConnection", "leaderElection"):
            yield f"config.{key}", self.config.get(key) or {}, dict
        yield "config.profiles", self.config.get("profiles", []), list
        for index, profile in enumerate(self.config.get("profiles", [])):
            path = f"config.profiles[{index}]"
            yield path, profile, dict
            yield f"{path}.plugins", profile.get("plugins", {}), dict
            yield f"{path}.pluginConfig", profile.get("pluginConfig", []), list


class Controller(Program):
    """A controller: a program of the user's own with its `manifests`, or a ready-made one by its name, such as kueue.

    The objects of the manifests, such as CRDs and webhooks, are there before the program starts. A webhook or a
    conversion that points to a Service is turned to `{port.webhook}` of the program, with the right CA. The program is
    ready as soon as the URL `ready` answers with a status below 400.
    `config` is the configuration of a ready-made controller, beside what the stack derives.
    """

    version: Literal["default"] = "default"
    config: InlineOrFile = {}
    manifests: list[Annotated[InstanceOf[ManifestFile], BeforeValidator(read_manifests)]] = []
    ready: Annotated[str, Field(pattern=r"^https?://")] | None = None

    @property
    def objects(self) -> list[Manifest]:
        """The objects of the manifests."""
        return [document.content for file in self.manifests for document in file.documents]

    @property
    def api_groups(self) -> set[str]:
        """The API groups that the controller adds to the cluster."""
        definitions = ("CustomResourceDefinition", "APIService")
        added = [part(entry, "spec", "group") for entry in self.objects if part(entry, "kind") in definitions]
        return {group for group in [*added, *READY_MADE.get(self.name, ())] if isinstance(group, str)}


READY_MADE = {"kueue": ("kueue.x-k8s.io",)}
"""The controllers that need no `binary`, and their API groups."""
