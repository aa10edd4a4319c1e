"""Show a stack: `python -m views status`, `python -m views why`, `python -m views picture`."""

import argparse
import json
import os
import sys
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from rich.console import Console

from cluster.fleet import running_stack
from topology.status.report import Report, details, report
from views import changes, page, table, why


def main() -> int:
    """Print the table or the answer, or write the picture and print its URL."""
    arguments = _arguments()
    try:
        found = running_stack.read(arguments.stack)
        if arguments.view == "why":
            return _why(found, arguments)
    except (running_stack.NothingToShowError, why.UnknownNameError) as error:
        print(error, file=sys.stderr)
        return 1
    if arguments.view == "status":
        return _status(report(found.topology, found.objects), Path(f".state/{arguments.stack}.status.json"))
    drawn = page.page(found.topology, found.objects, datetime.now().strftime("%Y-%m-%d %H:%M:%S"))
    return _write(Path(arguments.file or f".state/{arguments.stack}.html"), drawn)


def _status(told: Report, file: Path) -> int:
    """Print the table, and what has changed since the last one."""
    counted = changes.numbers(told)
    before = changes.remembered(file)
    changed = list(changes.changes(before, counted)) if before else []
    Console(highlight=False, emoji=False).print(table.table(told, changed))
    with suppress(OSError):
        changes.remember(file, counted)
    return 0


def _why(found: running_stack.RunningStack, arguments: argparse.Namespace) -> int:
    """Print why a pod waits, or the pods that use a claim.

    Raises:
        UnknownNameError: there is none of this name.
    """
    answers = why.answers(details(found.topology, found.objects), arguments.pod, arguments.claim)
    if arguments.format == "json":
        print(json.dumps([answer.as_json() for answer in answers], indent=2))
        return 0
    console = Console(highlight=False, emoji=False)
    for answer in answers:
        console.print(why.text(answer))
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m views", description=__doc__)
    parser.add_argument("--stack", default=os.environ.get("STACK") or "dev", help="default: $STACK, or dev")
    views = parser.add_subparsers(dest="view", required=True)
    views.add_parser("status", help="a table in the terminal")
    reasons = views.add_parser("why", help="why a pod or a claim waits, node by node")
    named = reasons.add_mutually_exclusive_group(required=True)
    named.add_argument("--pod", default="", help="name or namespace/name")
    named.add_argument("--claim", default="", help="name or namespace/name")
    reasons.add_argument("--format", default="text", choices=["text", "json"])
    picture = views.add_parser("picture", help="a page for the browser")
    picture.add_argument("--file", help="default: .state/<stack>.html")
    return parser.parse_args()


def _write(file: Path, page: str) -> int:
    try:
        if not file.parent.exists():
            file.parent.mkdir(parents=True)
        file.write_text(page, encoding="utf-8")
    except OSError as error:
        print(f"{file} cannot be written: {error.strerror}", file=sys.stderr)
        return 1
    print(file.resolve().as_uri())
    return 0


if __name__ == "__main__":
    sys.exit(main())
