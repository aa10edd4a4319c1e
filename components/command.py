"""How a Command runs a program of this project."""

PYTHON = 'exec "${PULUMI_PYTHON_CMD:-python3}"'
"""With the interpreter that runs the stack's program too: it has the packages."""


def program(name: str) -> str:
    """Return the shell command that runs the program `commands/<name>.py`."""
    return f"{PYTHON} -m commands.{name}"
