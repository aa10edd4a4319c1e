"""Make a twin: `python -m twin read dump.json`. Print the dump of a stack: `python -m twin dump`."""

import argparse
import gc
import os
import sys
from pathlib import Path

from twin import live
from twin.dump import DumpError, read
from twin.stack import stack
from twin.writing import free, write
from views.live import NothingToShowError


def main() -> int:
    """Do one of the two, and say what is where."""
    arguments = _arguments()
    gc.disable()  # A dump is read once and kept to the end: searching it for garbage would take a third of the time.
    try:
        if arguments.command == "dump":
            print(live.write(arguments.stack, Path(arguments.file or f".state/{arguments.stack}.dump.yaml")))
        else:
            _make(arguments)
    except (DumpError, NothingToShowError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _make(arguments: argparse.Namespace) -> None:
    if not arguments.files:
        raise DumpError("name the dump: make twin FROM=dump.json STACK=name")
    free(arguments.stack, Path())
    found = stack(
        read([Path(file) for file in arguments.files]),
        keep_names=arguments.keep_names,
        keep_placement=arguments.keep_placement,
    )
    for note in found.notes:
        print(f"note: {note}")
    files = write(found, arguments.stack, Path(), arguments.keep_names)
    pools = found.configuration["nodePools"]
    nodes = sum(pool["nodes"] for pool in pools)
    workloads = len(found.configuration.get("workloads", []))
    print(f"{' and '.join(files)}: {nodes} nodes in {len(pools)} pools, {workloads} workloads")
    print(f"`make up STACK={arguments.stack}` brings it up")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m twin", description=__doc__)
    parser.add_argument("--stack", default=os.environ.get("STACK"), required="STACK" not in os.environ)
    commands = parser.add_subparsers(dest="command", required=True)
    twin = commands.add_parser("read", help="make a stack of dumps")
    twin.add_argument("files", nargs="*", default=os.environ.get("FROM", "").split(), help="default: $FROM")
    for option, text in (("names", "do not replace names"), ("placement", "keep pods on their nodes")):
        default = os.environ.get(f"KEEP_{option.upper()}", "") not in ("", "0")
        twin.add_argument(f"--keep-{option}", action="store_true", default=default, help=text)
    dump = commands.add_parser("dump", help="write a dump of a running stack")
    dump.add_argument("--file", help="default: .state/<stack>.dump.yaml")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
