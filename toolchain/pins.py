"""The programs to build, their pinned versions, and whether they are up to date.

A program is up to date if its record, a small file written after the build, matches the current pins. The record lists
the modules that the program contains, so a changed pin rebuilds only the programs that contain its module. It has no
times and no absolute paths: .tools can be copied from one checkout to another.
"""

import hashlib
import json
import os
import platform
import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
MAIN_SET = "cluster"


class ToolchainError(Exception):
    """A problem that the user must fix; the message says what is wrong and what to do."""


@dataclass(frozen=True)
class Program:
    """A program of programs.toml, with its versions filled in."""

    name: str
    version: str
    folder: Path
    package: str
    copy: str
    ask: tuple[str, ...]
    beside: str
    stamps: tuple[str, ...]
    seconds: int
    optional: bool
    path: str
    target: Path
    record: Path
    pin: str
    pins: dict[str, str]

    @property
    def executable(self) -> str:
        """The file name that Go, or the copy of a script, gives the program."""
        return self.name if self.copy else re.sub(r"/v\d+$", "", self.package).rpartition("/")[2]

    @property
    def ldflags(self) -> str:
        """The linker flags of this program alone."""
        return link_flags([self])

    def recipe(self) -> dict[str, str]:
        """Return everything that affects the result of a build, except the module versions."""
        own_code = self.package.startswith("./")
        return {
            "package": self.package,
            "copy": self.copy,
            "ldflags": self.ldflags,
            "go": self.pins["go"],
            "platform": f"{platform.system()} {platform.machine()}",
            "sources": hash_sources(self.folder / self.package) if own_code else "",
        }

    def is_current(self) -> bool:
        """Tell whether the program exists and was built from the current pins."""
        if not os.access(self.target, os.X_OK):
            return False
        try:
            built = json.loads(self.record.read_text())
        except (OSError, ValueError):
            return False
        same_modules = all(self.pins.get(path) == pin for path, pin in built["modules"].items())
        return same_modules and built["recipe"] == self.recipe()

    def remember(self, recipe: dict[str, str], modules: dict[str, str]) -> None:
        """Write the record of a build."""
        self.record.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"recipe": recipe, "modules": modules}, indent=1)
        partial = self.record.with_suffix(".partial")
        partial.write_text(text + "\n")
        partial.replace(self.record)


def link_flags(programs: Iterable[Program]) -> str:
    """Return flags that drop debug information and set the versions that programs report; others ignore these."""
    stamps = dict.fromkeys(stamp for program in programs for stamp in program.stamps)
    return " ".join(["-s", "-w", *(f"-X={stamp}" for stamp in stamps)])


def load_programs(root: Path, chosen: str = MAIN_SET) -> list[Program]:
    """Return the programs of a set: all but the optional ones, these, or the control plane of another Kubernetes."""
    table = read_table(root)
    optional = optional_sets(table)
    folders = sorted(path.parent.name for path in root.glob(f"toolchain/{MAIN_SET}*/go.mod"))
    if chosen not in (*folders, *optional):
        raise ToolchainError(f"There is no set of programs {chosen!r}: there are {', '.join([*folders, *optional])}.")
    wanted = {chosen} if chosen in optional else {entry["folder"] for entry in table["program"]}.difference(optional)
    entries = [entry for entry in table["program"] if entry["folder"] in wanted]
    if chosen in folders and chosen != MAIN_SET:
        control_plane = [entry for entry in entries if entry["path"].startswith("kubernetes/")]
        entries = [entry | {"folder": chosen} for entry in control_plane]
    pins = {entry["folder"]: go_pins(root, entry["folder"]) for entry in entries}
    return [fill_in(entry, table["stamps"], root, pins[entry["folder"]]) for entry in entries]


def optional_sets(table: dict[str, Any]) -> list[str]:
    """Return the sets of programs.toml that are not needed by every stack."""
    return sorted({entry["folder"] for entry in table["program"] if entry.get("optional")})


def fill_in(entry: dict[str, Any], stamps: dict[str, list[str]], root: Path, pins: dict[str, str]) -> Program:
    """Return the Program of an entry of the table, with its versions from the pins."""
    version = (pins | python_pins(root))[entry["pin"]]
    major, minor = version.removeprefix("v").split(".")[:2]
    words = {"version": version, "major": major, "minor": minor}
    words["kubernetes"] = pins.get("k8s.io/kubernetes", "")
    path = entry["path"].format(**words)
    return Program(
        name=entry["name"],
        version=version,
        folder=root / "toolchain" / entry["folder"],
        package=entry["package"],
        copy=entry.get("copy", ""),
        ask=tuple(entry.get("ask", ())),
        beside=entry.get("beside", ""),
        stamps=tuple(stamp.format(**words) for stamp in stamps.get(entry.get("stamps", ""), [])),
        seconds=int(entry["seconds"]),
        optional=entry.get("optional", False),
        path=path,
        target=root / ".tools" / path,
        record=root / ".tools/records" / f"{path}.json",
        pin=entry["pin"],
        pins=pins,
    )


def read_table(root: Path) -> dict[str, Any]:
    """Read programs.toml."""
    return tomllib.loads((root / "toolchain/programs.toml").read_text("utf-8"))


def go_pins(root: Path, folder: str) -> dict[str, str]:
    """Return the pins of a Go module set; the pin of a module inside the toolchain is a hash of its files."""
    home = root / "toolchain" / folder
    pins = parse_go_mod((home / "go.mod").read_text())
    own = {path: f"{pin} {hash_sources(home / pin)}" for path, pin in pins.items() if pin.startswith("./")}
    return pins | own


def parse_go_mod(text: str) -> dict[str, str]:
    """Return the version of each module in a go.mod file, and of "go" itself.

    The pin of a replaced module is the path and version of its replacement.
    """
    required: dict[str, str] = {}
    replaced: dict[str, str] = {}
    for words in go_mod_statements(text):
        match words:
            case ["go", version]:
                required["go"] = version
            case ["require", path, version]:
                required[path] = version
            case ["replace", path, "=>", *new] | ["replace", path, _, "=>", *new]:
                replaced[path] = " ".join(new)
    return required | replaced


def go_mod_statements(text: str) -> Iterator[list[str]]:
    """Yield the words of each statement of a go.mod file, with blocks split into statements."""
    block: list[str] = []
    for line in text.splitlines():
        words = line.partition("//")[0].split()
        if words[-1:] == ["("]:
            block = words[:-1]
        elif words == [")"]:
            block = []
        elif words:
            yield block + words


def parse_build_info(text: str, pins: dict[str, str]) -> dict[str, str]:
    """Return the modules in the output of `go version -m`, written like the pins."""
    modules: dict[str, str] = {}
    latest = ""
    for line in text.splitlines():
        match line.split():
            case ["mod" | "dep", path, version, *_] if version != "(devel)":
                modules[path], latest = version, path
            case ["=>", path, version, *_]:
                modules[latest] = pins[latest] if version == "(devel)" else f"{path} {version}"
    return modules


def python_pins(root: Path) -> dict[str, str]:
    """Return the pins of requirements.txt, written like Go versions."""
    text = (root / "requirements.txt").read_text()
    return {name: f"v{version}" for name, version in re.findall(r"(?m)^([\w.-]+)==([\w.]+)", text)}


def hash_sources(folder: Path) -> str:
    """Return a hash of the names and contents of the files in a folder, without tests."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.match("*_test.go") and "testdata" not in path.parts:
            digest.update(f"{path.relative_to(folder)}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
