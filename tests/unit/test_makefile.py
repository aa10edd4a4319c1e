"""What `make` says before it starts anything."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a checkout with two stacks and a pulumi that knows none of them."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copytree(ROOT / "toolchain", tmp_path / "toolchain", ignore=shutil.ignore_patterns("go.sum"))
    (tmp_path / "stacks").mkdir()
    for name in ("dev", "a100"):
        (tmp_path / "stacks" / f"Pulumi.{name}.yaml").write_text("")
    (tmp_path / "requirements.txt").write_text("")
    add_program(tmp_path / ".tools/bin/pulumi", "echo \"error: no stack named '$4' found\" >&2; exit 255")
    return tmp_path


def add_program(path: Path, script: str) -> None:
    """Write an executable script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def install(checkout: Path) -> None:
    """Pretend that the Python packages are installed."""
    (checkout / ".venv").mkdir()
    (checkout / ".venv/installed").write_text("")


def make(checkout: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run make with few variables."""
    environment = {"PATH": "/usr/bin:/bin"} | variables
    command = ["make", "-C", str(checkout), "--no-print-directory", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def first_error(done: subprocess.CompletedProcess[str]) -> str:
    """Return the error of a failed run, without the line in which make reports it; there is but one."""
    assert done.returncode != 0
    message, reported = done.stderr.splitlines()
    assert reported.startswith("make: ***")
    return message


def test_the_default_is_a_list_of_targets(checkout: Path) -> None:
    """A newcomer sees what there is."""
    names = [line.split()[0] for line in make(checkout).stdout.splitlines()[1:]]
    expected = [
        "help",
        "up",
        "down",
        "preview",
        "status",
        "why",
        "picture",
        "twin",
        "dump",
        "catalogue",
        "tools",
        "tools-1.36",
        "tools-kueue",
        "tools-jobset",
        "test",
        "soak",
        "lint",
        "audit",
        "lock",
        "bench",
        "clean",
    ]
    assert names == expected


@pytest.mark.parametrize("target", ["up", "preview", "status", "why", "picture", "dump"])
@pytest.mark.parametrize("name", ["h200", "", "../dev", "dev.yaml", "-h"])
def test_an_unknown_stack_is_answered_with_the_known(checkout: Path, target: str, name: str) -> None:
    """It takes no build to say so."""
    message = first_error(make(checkout, target, f"STACK={name}"))
    assert message == f"There is no stacks/Pulumi.{name}.yaml. The stacks: a100 dev"


@pytest.mark.parametrize("name", ["$(shell touch hacked)", "`touch hacked`", '"; touch hacked; "', "$$(touch hacked)"])
@pytest.mark.parametrize("target", ["up", "down"])
def test_a_stack_name_is_never_run(checkout: Path, target: str, name: str) -> None:
    """Neither make nor the shell evaluates it, wherever it comes from."""
    install(checkout)
    for done in (make(checkout, target, f"STACK={name}"), make(checkout, target, STACK=name)):
        assert name in done.stdout + done.stderr
    assert not (checkout / "hacked").exists()


@pytest.mark.parametrize("name", ["$(shell touch hacked)", "`touch hacked`", '"; touch hacked; "', "a b", ""])
def test_nor_is_a_file_name(checkout: Path, name: str) -> None:
    """The picture's file is whatever the user calls it."""
    install(checkout)
    add_program(checkout / ".venv/bin/python", "printf '<%s>' \"$@\"")
    for done in (make(checkout, "picture", f"FILE={name}"), make(checkout, "picture", FILE=name)):
        assert done.stdout == f"<-m><views><--stack><dev><picture><--file><{name}>", done.stderr
    assert not (checkout / "hacked").exists()


@pytest.mark.parametrize("name", ["$(shell touch hacked)", "`touch hacked`", '"; touch hacked; "', "-h"])
@pytest.mark.parametrize("kind", ["POD", "CLAIM"])
def test_why_takes_any_name(checkout: Path, kind: str, name: str) -> None:
    install(checkout)
    add_program(checkout / ".venv/bin/python", "printf '<%s>' \"$@\"")
    done = make(checkout, "why", f"{kind}={name}", "FORMAT=json")
    assert done.stdout == f"<-m><views><--stack><dev><why><--{kind.lower()}={name}><--format><json>", done.stderr
    assert not (checkout / "hacked").exists()


def test_why_needs_a_name(checkout: Path) -> None:
    install(checkout)
    message = first_error(make(checkout, "why"))
    assert message == "Which? make why POD=… or CLAIM=…; make status lists both."


def test_destroying_nothing_is_no_error(checkout: Path) -> None:
    """A stack that does not exist leaves nothing to do."""
    install(checkout)
    done = make(checkout, "down", "STACK=gone")
    assert (done.returncode, done.stdout) == (0, "Nothing to destroy: there is no stack 'gone'.\n")


def test_destroying_says_what_else_is_wrong(checkout: Path) -> None:
    """An unreachable backend is not mistaken for a missing stack."""
    install(checkout)
    add_program(checkout / ".tools/bin/pulumi", "echo 'error: no network' >&2; exit 1")
    assert first_error(make(checkout, "down")) == "error: no network"


@pytest.mark.parametrize("version", ["3.10.4", ""])
def test_missing_or_old_python_is_one_line(checkout: Path, tmp_path: Path, version: str) -> None:
    """The check needs no Python."""
    program = tmp_path / "bin/python3"
    old = f"import sys; sys.version_info = ({version.replace('.', ', ')})"
    script = f'case $1 in --version) echo Python {version} ;; -c) exec {sys.executable} -c "{old}; $2" ;; esac'
    add_program(program, script if version else "exit 127")
    message = first_error(make(checkout, "tools", f"PYTHON={program}"))
    found = f"Python {version}" if version else "none"
    assert message.startswith(f"Python 3.11 or newer is needed, found: {found}. See https://")


def test_an_interrupted_installation_is_repeated(checkout: Path, tmp_path: Path) -> None:
    """Only a complete installation counts, and only until the requirements change."""
    program = tmp_path / "bin/python3"
    add_program(program, "case $* in *venv*) mkdir -p .venv/bin && cp $0 .venv/bin/python ;; *pip*) exit 1 ;; esac")
    broken = make(checkout, "venv", f"PYTHON={program}")
    assert broken.returncode != 0
    add_program(program, "case $* in *venv*) mkdir -p .venv/bin && cp $0 .venv/bin/python ;; esac")
    for change, output in [("", "Installing"), ("", "make: Nothing"), ("rich", "Installing")]:
        if change:
            (checkout / "requirements.txt").write_text(change)
        assert make(checkout, "venv", f"PYTHON={program}").stdout.startswith(output)


def test_clean_refuses_while_there_are_clusters(checkout: Path, tmp_path: Path) -> None:
    """The programs of a running cluster must not be pulled away from under it."""
    cluster = tmp_path / "work/clusters/kwok-dra-dev"
    cluster.mkdir(parents=True)
    message = first_error(make(checkout, "clean", KWOK_WORKDIR=str(tmp_path / "work")))
    assert message == "Not while there are clusters: kwok-dra-dev. Destroy them first: make down STACK=…"
    assert (checkout / ".tools").exists()


def test_clean_keeps_the_state(checkout: Path) -> None:
    """Only what can be made again goes."""
    install(checkout)
    (checkout / ".state/kwok/clusters").mkdir(parents=True)
    (checkout / "components/__pycache__").mkdir(parents=True)
    assert make(checkout, "clean").returncode == 0
    left = {path.name for path in checkout.iterdir()}
    assert ".state" in left
    assert not {".tools", ".venv"} & left
    assert not (checkout / "components/__pycache__").exists()


def test_what_a_twin_is_made_of_is_no_piece_of_shell(checkout: Path) -> None:
    install(checkout)
    add_program(checkout / ".venv/bin/python", 'echo "$FROM|$STACK|$KEEP_NAMES|$@"')
    done = make(checkout, "twin", "FROM=$(touch x) a.json", "STACK=ours", "KEEP_NAMES=1")
    assert done.stdout == "$(touch x) a.json|ours|1|-m twin --stack ours read\n"
    assert not (checkout / "x").exists()


GO, FAST, SLOW = "Part 1 of 3: Go", "Part 2 of 3: unit and graph tests", "Part 3 of 3: end-to-end tests"


@pytest.mark.parametrize(
    ("failing", "arguments", "said"),
    [
        ("", [], [GO, "<>", FAST, "<tests/unit><tests/graph>", SLOW, "<tests/e2e>"]),
        ("bin/go", [], [GO]),
        ("tests/unit", [], [GO, "<>", FAST]),
        ("", ["ARGS=-k 'a and b'"], ["Part 1 of 2: Go", "<>", "Part 2 of 2: what ARGS names", "<-k><a and b>"]),
    ],
)
def test_the_tests_run_in_parts_until_one_fails(
    checkout: Path, tmp_path: Path, failing: str, arguments: list[str], said: list[str]
) -> None:
    """What takes a minute comes before what takes a quarter of an hour."""
    install(checkout)
    (checkout / "requirements-dev.txt").write_text("")
    (checkout / ".venv/installed-dev").write_text("")
    fails = f'case "$0 $*" in *{failing}*) exit 1 ;; esac' if failing else ":"
    add_program(tmp_path / "bin/go", f"{fails}; echo '<>'")
    tell = "shift 4; printf '<%s>' \"$@\"; echo"
    add_program(checkout / ".venv/bin/python", f'test "$1 $2" = "-m pytest" || exit 0; {fails}; {tell}')
    done = make(checkout, "test", *arguments, PATH=f"{tmp_path / 'bin'}:/usr/bin:/bin")
    assert done.stdout.splitlines() == said
    assert (done.returncode != 0) is bool(failing)
