"""The error of a cluster on this machine, and what its message quotes from logs."""

REPLACE = "replace the cluster and everything in it with `pulumi up --replace '**command:local:Command**'`"
LOG_LINES = 5


class ClusterError(Exception):
    """A problem that the user must solve, in one message."""


def tail(text: str) -> str:
    """Return the last lines of a log, indented."""
    return "\n".join(f"  {line}" for line in text.strip().splitlines()[-LOG_LINES:])


def error_lines(log: str) -> str:
    """Return the last errors in the log of a component, or its last lines if none of them is an error."""
    lines = [line for line in log.splitlines() if line.startswith(("Error:", "F", "E", "panic:")) or '"error"' in line]
    return tail("\n".join(lines) or log)
