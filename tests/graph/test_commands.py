"""Shell commands are fixed texts; configured values reach them in the environment and on stdin."""

import pytest

from tests.e2e.project import SCENARIOS, STACKS
from tests.graph.recording import Configuration, run, stack_configuration
from tests.unit.test_fuzz import WRITTEN_OUT

PYTHON = 'exec "${PULUMI_PYTHON_CMD:-python3}" -m commands.'
COMMANDS = {
    *(f"{PYTHON}kwok_cluster {verb}" for verb in ("create", "update", "delete")),
    *(f"{PYTHON}added_program {verb}" for verb in ("create", "update", "delete")),
    *(f"{PYTHON}batch {verb}" for verb in ("create", "update", "delete")),
    f"{PYTHON}removals",
    f"{PYTHON}wait",
    'echo "$KWOK_DRA_FIRST_GENERATION"',
    "echo $((PULUMI_COMMAND_STDOUT + 1))",
    'xargs -r kubectl patch --subresource status --type merge --patch "$KWOK_DRA_PATCH" --output name node',
    "true",
    'kubectl delete devicetaintrules --selector "$KWOK_DRA_SELECTOR" --ignore-not-found',
    """exec timeout 60 sh -c 'until [ "$(kubectl run try --image fake-image --labels pod-group=try --dry-run=server """
    """--output jsonpath={.spec.schedulingGroup.podGroupName})" ]; do sleep 0.1; done'""",
}
VARIABLE_MAX = 128 * 1024  # MAX_ARG_STRLEN: https://man7.org/linux/man-pages/man2/execve.2.html


def configuration(stack: str) -> Configuration:
    if stack == "written out":
        return {f"kwok-dra:{key}": value for key, value in WRITTEN_OUT.items()}
    return stack_configuration(stack)


@pytest.mark.parametrize("stack", [*STACKS, *SCENARIOS, "written out"])
def test_commands_are_fixed_texts(stack: str) -> None:
    commands = run(configuration(stack), preview=True, objects=[]).of_kind("Command").values()
    assert commands
    for command in commands:
        texts = {command.inputs[verb] for verb in ("create", "update", "delete") if verb in command.inputs}
        assert texts <= COMMANDS
        for name, value in command.inputs["environment"].items():
            assert len(f"{name}={value}".encode()) < VARIABLE_MAX


POOL: Configuration = {"name": "a" * 58, "nodes": 4_000, "gpu": "example-gpu", "provisioning": "bulk"}
CLAIMS = [{"name": "own", "requests": [{"name": "gpu", "deviceClass": "gpu.example.com"}]}]
PODS: Configuration = {"name": "pods", "kind": "Pod", "replicas": 5_000, "provisioning": "bulk", "claims": CLAIMS}
LAST: Configuration = {"name": "last", "after": ["pods"], "claims": CLAIMS, "expect": {"pending": 1, "allocated": 0}}
EVERY_OTHER = list(range(0, 4_000, 2))
FAILING = [{"nodes": [node], "devices": ["gpu-0"], "attachFails": True} for node in range(1_000)]


@pytest.mark.parametrize(
    ("pool", "workloads"),
    [
        ({"nodes": 5_000}, [PODS, LAST]),
        ({"faults": [{"taint": {"key": "broken", "effect": "NoExecute"}}]}, [PODS | {"replicas": 0}, LAST]),
        ({"faults": [{"notReady": True, "nodes": EVERY_OTHER}]}, [PODS | {"replicas": 0}, LAST]),
        ({"faults": [{"gone": True}]}, []),
        ({"faults": [{"gone": True, "nodes": EVERY_OTHER}]}, []),
        ({"gpu": "example-gpu-attached", "nodes": 1_000, "faults": FAILING}, []),
    ],
    ids=["many pods", "tainted nodes", "nodes that are not ready", "lost nodes", "every other node", "many faults"],
)
def test_large_stacks_have_short_variables(pool: Configuration, workloads: list[Configuration]) -> None:
    """Values that grow with the stack go to stdin."""
    configuration = {"kwok-dra:nodePools": [POOL | pool], "kwok-dra:workloads": workloads}
    for command in run(configuration, preview=True, objects=[]).of_kind("Command").values():
        assert all(len(value.encode()) < VARIABLE_MAX // 2 for value in command.inputs["environment"].values())


def test_previous_output_that_grows_with_the_stack_is_not_passed_on() -> None:
    """kubectl prints a line for each node that it patches, and for each rule that it deletes."""
    declaring = {"name": "a", "gpu": {"driver": "gpu.example.com", "skipNodeOperations": ["*"]}}
    commands = run({"kwok-dra:nodePools": [declaring, {"name": "b", "gpu": "example-gpu-attached"}]}).of_kind("Command")
    without = {name for name, found in commands.items() if found.inputs.get("addPreviousOutputInEnv") is False}
    assert without == {"a-declared", "b-attached"}
