"""The schedulers and controllers that run beside the components of the cluster."""

from pathlib import Path

import pulumi

from cluster.fleet import added_program
from components.cluster_base import ClusterComponent
from components.command import command, life_cycle
from components.stack_configuration import tools
from topology.objects.added_programs import wanted
from topology.objects.local_webhooks import left_out
from topology.schema.stack import Topology


class AddedPrograms(pulumi.ComponentResource):
    """Schedulers and controllers that run as processes beside those of the cluster.

    It creates
    - one `command.local.Command` for each entry of `schedulers` and `controllers`, which runs
      `commands/added_program.py`: it applies the manifests of a controller, starts the process as a component of the
      cluster and waits until it is ready. A change restarts that process alone, and so does an update after it has
      exited; a process that does not become ready leaves the previous one running.

    In an existing cluster it creates nothing: whoever runs the cluster runs its schedulers and controllers.
    """

    resources: list[pulumi.CustomResource]

    def __init__(
        self, topology: Topology, cluster: ClusterComponent, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        """Start the programs of `topology` in `cluster`."""
        super().__init__("kwok-dra:components:AddedPrograms", "added-programs", None, opts)
        self.resources = []
        programs = wanted(topology, Path(), tools())
        for program in programs:
            if dropped := ", ".join(left_out(program["objects"])):
                message = f"{dropped} of the manifests not created: the process of {program['name']} takes the place"
                pulumi.info(f"{program['key']}: {message}", self)
            variables = {
                "KWOK_DRA_PROGRAM": program["name"],
                "KWOK_DRA_REPAIRS": str(added_program.repairs(topology.cluster.name, program["name"])),
                "KWOK_DRA_READY_TIMEOUT": str(topology.cluster.ready_timeout_seconds),
            }
            self.resources.append(
                command(
                    f"program-{program['name']}",
                    cluster.kubectl_with(variables),
                    cluster.content(self),
                    *life_cycle("added_program"),
                    stdin=program,
                    needs_output=False,
                )
            )
        self.register_outputs({"programs": [program["name"] for program in programs]})
