"""Make a twin with `python -m twin read dump.json`, or write the dump of a stack with `python -m twin dump`."""

import argparse
import gc
import os
import sys
from pathlib import Path
from typing import get_args

from cluster.fleet.running_stack import NothingToShowError
from topology.checks.validation import printable
from twin import live
from twin.dump import DumpError, read
from twin.placement import Kept
from twin.stack import stack
from twin.writing import free, write


def main() -> int:
    """Run the command and print the paths of the files it has written; return the exit code."""
    arguments = _arguments()
    gc.disable()  # A dump is kept until the end; garbage collection would take a third of the time.
    try:
        if arguments.command == "dump":
            print(live.write(arguments.stack, Path(arguments.file or f".state/{arguments.stack}.dump.yaml")))
        else:
            _make(arguments)
    except (DumpError, NothingToShowError) as error:
        print("\n".join(map(printable, str(error).split("\n"))), file=sys.stderr)
        return 1
    return 0


def _make(arguments: argparse.Namespace) -> None:
    if not arguments.files:
        raise DumpError("no dump: name its files, as in `make twin FROM=dump.json STACK=name`")
    free(arguments.stack, Path())
    found = stack(
        read([Path(file) for file in arguments.files]),
        keep_names=arguments.keep_names,
        keep_placement=arguments.keep_placement,
    )
    for note in found.notes:
        print(printable(f"note: {note}"))
    files = write(found, arguments.stack, Path(), arguments.keep_names)
    pools = found.configuration["nodePools"]
    nodes = _counted(sum(pool["nodes"] for pool in pools), "node")
    workloads = _counted(len(found.configuration.get("workloads", [])), "workload")
    print(f"{' and '.join(map(str, files))}: {nodes} in {_counted(len(pools), 'pool')}, {workloads}")
    print(f"start it with `make up STACK={arguments.stack}`")


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m twin", description=__doc__)
    parser.add_argument("--stack", default=os.environ.get("STACK"), required="STACK" not in os.environ)
    commands = parser.add_subparsers(dest="command", required=True)
    twin = commands.add_parser("read", help="make a stack from a dump")
    twin.add_argument("files", nargs="*", default=os.environ.get("FROM", "").split(), help="default: $FROM")
    names = os.environ.get("KEEP_NAMES", "") not in ("", "0")
    twin.add_argument("--keep-names", action="store_true", default=names, help="keep names instead of replacing them")
    placement = {"": "", "0": "none", "1": "nodes"}.get(kept := os.environ.get("KEEP_PLACEMENT", ""), kept)
    text = "keep pods on their nodes (nodes), also claims on their devices (devices), or neither (none)"
    twin.add_argument("--keep-placement", nargs="?", const="nodes", default=placement, help=text)
    dump = commands.add_parser("dump", help="write a dump of a running stack")
    dump.add_argument("--file", help="default: .state/<stack>.dump.yaml")
    arguments = parser.parse_args()
    if getattr(arguments, "keep_placement", "") not in get_args(Kept):
        parser.error("--keep-placement (KEEP_PLACEMENT) must be none, nodes or devices")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
