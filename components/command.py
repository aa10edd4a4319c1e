"""The `command.local.Command`s of a stack."""

import json
from collections.abc import Mapping

import pulumi
from pulumi_command import local

PYTHON = 'exec "${PULUMI_PYTHON_CMD:-python3}"'
"""The interpreter that runs the stack's program: it has the packages."""


def program(name: str) -> str:
    """Return the shell command that runs the program `commands/<name>.py`."""
    return f"{PYTHON} -m commands.{name}"


def life_cycle(name: str) -> tuple[str, str, str]:
    """Return the shell commands that run a program with the argument create, update or delete."""
    run = program(name)
    return f"{run} create", f"{run} update", f"{run} delete"


def command(
    name: str,
    environment: pulumi.Input[Mapping[str, pulumi.Input[str]]],
    opts: pulumi.ResourceOptions,
    create: str,
    update: str | None = None,
    delete: str | None = None,
    *,
    stdin: object = None,
    logging: local.Logging | None = local.Logging.STDERR,
    needs_output: bool = True,
) -> local.Command:
    """Create the Command `name`, whose shell commands run in `environment`.

    Configured text must not be part of a shell command. It goes to `environment` or, as Linux limits a variable to 128
    KiB, to `stdin` where it grows with the stack: a string as it is, any other value in JSON. If the output grows with
    the stack, `needs_output` must be False: the next operation would get the output in a variable.
    """
    return local.Command(
        name,
        create=create,
        update=update,
        delete=delete,
        environment=environment,
        stdin=stdin if isinstance(stdin, str | None) else json.dumps(stdin),
        logging=logging,
        add_previous_output_in_env=None if needs_output else False,
        opts=opts,
    )
