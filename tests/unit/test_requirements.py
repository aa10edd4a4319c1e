"""Every dependency is pinned, Python packages with the hashes of all files of their release."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCKED = ("requirements.txt", "requirements-dev.txt")


def locked(name: str) -> dict[str, tuple[str, int]]:
    """Return the version of each package of a file, and how many hashes it has."""
    entries = re.split(r"(?m)^(?=[a-z])", re.sub(r"(?m)^#.*\n", "", (ROOT / name).read_text()))
    found = {}
    for entry in filter(None, entries):
        pin = re.match(r"([a-z0-9-]+)==(\S+)( ; [^\\]+)? \\\n", entry)
        assert pin, f"not pinned: {entry}"
        found[pin[1]] = pin[2], len(re.findall(r"--hash=sha256:[0-9a-f]{64}\b", entry))
    return found


def wanted(name: str) -> dict[str, str]:
    """Return the versions that a file asks for itself."""
    pins = re.findall(r"(?m)^([\w.-]+)==(\S+)$", (ROOT / name).read_text())
    return {package.lower(): version for package, version in pins}


@pytest.mark.parametrize("name", LOCKED)
def test_every_package_has_hashes(name: str) -> None:
    assert all(hashes for _, hashes in locked(name).values())


@pytest.mark.parametrize("name", LOCKED)
def test_what_is_asked_for_is_what_is_locked(name: str) -> None:
    versions = {package: version for package, (version, _) in locked(name).items()}
    asked = wanted(name.replace(".txt", ".in"))
    assert asked
    assert {package: versions.get(package) for package in asked} == asked, "run `make lock`"


def test_the_tests_run_with_what_the_program_runs_with() -> None:
    program, everything = map(locked, LOCKED)
    assert {package: everything.get(package) for package in program} == program


@pytest.mark.parametrize("name", LOCKED)
def test_no_address_is_pinned(name: str) -> None:
    """Whoever installs has an index of their own."""
    assert not re.search(r"://|--(extra-)?index-url|--find-links", (ROOT / name).read_text())


@pytest.mark.parametrize(
    "folder", sorted(path.parent for path in ROOT.glob("toolchain/*/go.mod")), ids=lambda path: path.name
)
def test_every_go_module_has_its_hash(folder: Path) -> None:
    """Go itself refuses what is not in go.sum, as long as nothing tells it to add to the file."""
    sums = {tuple(line.split()[:2]) for line in (folder / "go.sum").read_text().splitlines()}
    required = re.findall(
        r"(?m)^\s*(?:require )?([a-z][\w.-]*\.[a-z]+/\S+) (v\S+)(?: // indirect)?$", (folder / "go.mod").read_text()
    )
    assert required
    replaced = re.findall(r"(?m)^\s*(?:replace )?(\S+)(?: v\S+)? =>", (folder / "go.mod").read_text())
    lacking = [pin for pin in required if pin[0] not in replaced and (pin[0], f"{pin[1]}/go.mod") not in sums]
    assert not lacking


def test_nothing_loosens_the_checks_of_go() -> None:
    for file in [ROOT / "Makefile", *(ROOT / "toolchain").glob("*.py"), ROOT / "toolchain" / "activate"]:
        assert not re.search(
            r"-mod=mod|GONOSUM|GONOSUMDB|GOSUMDB|GOINSECURE|GOPRIVATE|GOFLAGS=-mod", file.read_text()
        ), file
