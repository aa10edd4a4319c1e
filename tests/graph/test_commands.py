"""What runs in a shell: texts of the program's own; whatever is configured goes through the environment."""

import pytest

from tests.e2e.project import SCENARIOS, STACKS
from tests.graph.recording import Configuration, run, stack_configuration
from tests.unit.test_fuzz import WRITTEN_OUT

PYTHON = 'exec "${PULUMI_PYTHON_CMD:-python3}" -m commands.'
COMMANDS = {
    *(f"{PYTHON}kwok_cluster {verb}" for verb in ("create", "update", "delete")),
    *(f"{PYTHON}batch {verb}" for verb in ("create", "update", "delete")),
    f"{PYTHON}removals",
    f"{PYTHON}wait",
    'printf %s "$KWOK_DRA_OBJECTS"',
    'echo "$KWOK_DRA_FIRST_GENERATION"',
    "echo $((PULUMI_COMMAND_STDOUT + 1))",
    '[ -z "$KWOK_DRA_NODES" ] || kubectl patch node $KWOK_DRA_NODES --subresource status --type merge '
    '--patch "$KWOK_DRA_PATCH" --output name',
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
def test_commands_are_the_program_s_own(stack: str) -> None:
    commands = run(configuration(stack), preview=True, objects=[]).of_kind("Command").values()
    assert commands
    for command in commands:
        texts = {command.inputs[verb] for verb in ("create", "update", "delete") if verb in command.inputs}
        assert texts <= COMMANDS
        for name, value in command.inputs["environment"].items():
            assert len(f"{name}={value}".encode()) < VARIABLE_MAX


def test_variables_are_short_however_many_nodes_are_lost() -> None:
    pool = {"name": "a" * 40, "nodes": 5_000, "gpu": "kwok-l4", "provisioning": "bulk", "faults": [{"gone": True}]}
    for command in run({"kwok-dra:nodePools": [pool]}, preview=True, objects=[]).of_kind("Command").values():
        assert all(len(value.encode()) < VARIABLE_MAX - 100 for value in command.inputs["environment"].values())
