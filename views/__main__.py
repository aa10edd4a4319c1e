"""Show a stack: `python -m views status`, `python -m views picture`."""

import argparse
import os
import sys
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from rich.console import Console

from cluster.fleet import running_stack
from topology.status.report import Report, report
from views import changes, page, table


def main() -> int:
    """Print the table, or write the picture and print its URL."""
    arguments = _arguments()
    try:
        found = running_stack.read(arguments.stack)
    except running_stack.NothingToShowError as error:
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


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m views", description=__doc__)
    parser.add_argument("--stack", default=os.environ.get("STACK") or "dev", help="default: $STACK, or dev")
    views = parser.add_subparsers(dest="view", required=True)
    views.add_parser("status", help="a table in the terminal")
    page = views.add_parser("picture", help="a page for the browser")
    page.add_argument("--file", help="default: .state/<stack>.html")
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
