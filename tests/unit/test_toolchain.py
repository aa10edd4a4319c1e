"""The toolchain's build, with a `go` that only pretends to compile."""

import io
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "toolchain"))

import build  # noqa: E402
import compiler  # noqa: E402
import progress  # noqa: E402
import system  # noqa: E402
from pins import Program, ToolchainError, load_programs, parse_build_info, parse_go_mod  # noqa: E402

MODULES = {
    "kwokctl": "sigs.k8s.io/kwok k8s.io/api",
    "kwok": "sigs.k8s.io/kwok k8s.io/client-go",
    "etcd": "go.etcd.io/etcd/server/v3 go.uber.org/zap",
    "kube-apiserver": "k8s.io/kubernetes k8s.io/api go.uber.org/zap",
    "kube-scheduler": "k8s.io/kubernetes k8s.io/api",
    "kube-controller-manager": "k8s.io/kubernetes k8s.io/api",
    "kubectl": "k8s.io/kubernetes k8s.io/client-go",
    "pulumi-language-python": "github.com/pulumi/pulumi/sdk/v3",
    "pulumi-resource-command": "github.com/pulumi/pulumi-go-provider",
    "pulumi-resource-kubernetes": (
        "github.com/pulumi/pulumi-kubernetes/provider/v4 github.com/pulumi/pulumi-kubernetes/sdk/v4"
    ),
    "pulumi": "github.com/pulumi/pulumi/pkg/v3 github.com/pulumi/pulumi/sdk/v3",
}
"""What the pretended compiler puts into each program."""

EXEC = "pulumi-language-python-exec"
CONTROLLERS = {"jobset": "sigs.k8s.io/jobset", "kueue": "sigs.k8s.io/kueue"}
"""The sets of a controller and its manifests, and their modules."""

CONTROL_PLANE = {"etcd", "kube-apiserver", "kube-scheduler", "kube-controller-manager"}
KUBERNETES = CONTROL_PLANE - {"etcd"} | {"kubectl", "kwok", "kwokctl"}
"""The programs that are stamped with the version of Kubernetes, kwok's default included."""

FAKE_GO = '''#!{python} -S
"""Pretends to be Go: `build` writes scripts with the modules of go.mod that MODULES names."""
import os, pathlib, re, sys, time

here, arguments = pathlib.Path(__file__).parent, sys.argv[1:]
modules = {modules}

def build(package, folder):
    """Make one program, as Go does: elsewhere, then moved into the folder."""
    executable = re.sub("/v[0-9]+$", "", package).split("/")[-1]
    name = "etcd" if executable == "server" else executable
    output = pathlib.Path(os.environ["GOTMPDIR"]) / name
    if (here / f"slow-{{name}}").exists():
        output.write_text("half a program")
        time.sleep(float((here / f"slow-{{name}}").read_text()))
    if (here / f"fail-{{name}}").exists():
        print((here / f"fail-{{name}}").read_text(), flush=True)
        return False
    (here / "built").open("a").write(name + "\\n")
    text = pathlib.Path("go.mod").read_text()
    lines = ["#!/bin/sh", 'echo "$PULUMI_HOME" "$@" >> "$0.calls"']
    for module in modules[name].split():
        lines.append("#dep " + re.search("(?m)^(?:require )?\\s*(%s v\\S+)" % module, text)[1])
        if new := re.search("(?m)^(?:replace )?\\s*%s => (.*)" % module, text):
            lines.append("#=> " + new[1] + " (devel)" * new[1].startswith("./"))
    output.write_text("\\n".join(lines) + "\\n")
    output.chmod(0o755)
    output.rename(folder / executable)
    return True

if arguments[:2] == ["version", "-m"]:
    print(re.sub("(?m)^#", "", pathlib.Path(arguments[2]).read_text()))
elif arguments == ["version"]:
    print("go version go{version} linux/amd64")
elif arguments[0] == "env":
    print(here, here, sep="\\n")
elif arguments[0] == "mod":
    manifests = here / "config/components/crd"
    name = arguments[-1].split("/")[-1]
    if name in {controllers} and not manifests.exists():
        manifests.mkdir(parents=True)
        (manifests / "a.yaml").write_text("kind: X")
        (manifests / "a.yaml").chmod(0o444)
        manifests.chmod(0o555)
    (here / "built").open("a").write(name + "-manifests\\n" if name in {controllers} else "{exec}\\n")
    (here / "python/cmd").mkdir(parents=True, exist_ok=True)
    (here / "python/cmd/{exec}").write_text("script")
    print('{{"Dir": "%s"}}' % here)
elif arguments[0] == "build":
    (here / "pid").write_text(str(os.getpid()))
    (here / "arguments").write_text(" ".join(arguments))
    position = arguments.index("-o") + 1
    failed = [package for package in arguments[position + 1 :] if not build(package, pathlib.Path(arguments[position]))]
    sys.exit(bool(failed))
'''


class Checkout:
    """A copy of the toolchain folder with a PATH on which there is only a pretended go."""

    def __init__(self, folder: Path) -> None:
        """Look at the checkout in a folder."""
        self.root = folder / "checkout"
        self.bin = folder / "bin"

    def fill(self) -> None:
        """Copy what a build reads."""
        self.bin.mkdir()
        ignored = shutil.ignore_patterns("go.sum", "__pycache__")
        shutil.copytree(ROOT / "toolchain", self.root / "toolchain", ignore=ignored)
        shutil.copy(ROOT / "requirements.txt", self.root)
        self.add_go("9.9.9")

    def add_go(self, version: str) -> None:
        """Put a go of some version on PATH."""
        known = {"modules": MODULES | CONTROLLERS, "controllers": list(CONTROLLERS)}
        text = FAKE_GO.format(python=sys.executable, version=version, exec=EXEC, **known)
        self.add_program("go", text)

    def add_program(self, name: str, text: str) -> None:
        """Put an executable script on PATH."""
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def replace(self, file: str, old: str, new: str) -> None:
        """Change a file of the checkout."""
        text = (self.root / file).read_text()
        assert old in text
        (self.root / file).write_text(text.replace(old, new))

    def pin(self, folder: str, module: str) -> str:
        """Return the version of a module in a go.mod."""
        return parse_go_mod((self.root / "toolchain" / folder / "go.mod").read_text())[module]

    def make_tools(self, chosen: str = "cluster") -> set[str]:
        """Build; return the names of the programs that go was asked for."""
        (self.bin / "built").write_text("")
        build.run(self.root, chosen, "")
        return self.built()

    def built(self) -> set[str]:
        """Return the names of the programs that go has built in the latest run."""
        return set((self.bin / "built").read_text().split())

    def files(self) -> set[str]:
        """Return the paths of the programs in .tools."""
        tools = self.root / ".tools"
        folders = (tools / "bin", tools / "kubernetes", tools / "pulumi")
        return {str(path.relative_to(tools)) for folder in folders for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the programs and variables of the machine out."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    for name in ("PULUMI_HOME", "KWOK_DRA_TOOLS", "TOOLS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """Return a fresh checkout."""
    fresh = Checkout(tmp_path)
    fresh.fill()
    return fresh


@pytest.fixture(scope="module")
def first_build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a checkout in which everything has been built, to be copied."""
    folder = tmp_path_factory.mktemp("first")
    first = Checkout(folder)
    first.fill()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(first.bin))
        patch.delenv("PULUMI_HOME", raising=False)
        assert first.make_tools() == {*MODULES, EXEC}
    return folder


@pytest.fixture
def built(first_build: Path, tmp_path: Path) -> Checkout:
    """Return a checkout in which everything has been built."""
    shutil.copytree(first_build, tmp_path, dirs_exist_ok=True)
    return Checkout(tmp_path)


def test_programs_lie_where_the_product_looks_for_them(checkout: Checkout) -> None:
    """Every path is part of the interface; the versions in it come from the pins."""
    checkout.replace("requirements.txt", "pulumi-command==", "pulumi-command==9.9.")
    kubernetes = checkout.pin("cluster", "k8s.io/kubernetes")
    command, provider = (
        next(path for path in checkout_paths(checkout) if path.startswith(f"pulumi/plugins/{name}"))
        for name in ("resource-command-v9.9.1.2.1", "resource-kubernetes-v")
    )

    checkout.make_tools()

    assert checkout.files() == {
        *(f"bin/{name}" for name in ("kubectl", "kwok", "kwokctl", "pulumi")),
        *(f"bin/{name}" for name in ("pulumi-language-python", EXEC)),
        *(f"kubernetes/{kubernetes}/{name}" for name in CONTROL_PLANE),
        command,
        provider,
    }
    assert all(os.access(checkout.root / ".tools" / path, os.X_OK) for path in checkout.files())


def checkout_paths(checkout: Checkout) -> list[str]:
    """Return the paths under .tools that the table promises."""
    programs = load_programs(checkout.root)
    return [str(program.target.relative_to(checkout.root / ".tools")) for program in programs]


def test_other_set_is_the_control_plane_alone(checkout: Checkout) -> None:
    """A second Kubernetes version adds four programs and shares the others."""
    assert checkout.make_tools("cluster-1.36") == CONTROL_PLANE
    kubernetes = checkout.pin("cluster-1.36", "k8s.io/kubernetes")
    assert kubernetes.startswith("v1.36.")
    assert checkout.files() == {f"kubernetes/{kubernetes}/{name}" for name in CONTROL_PLANE}


@pytest.mark.parametrize("tools", ["", "system"])
@pytest.mark.parametrize(("name", "crd"), [("kueue", "crd/a.yaml"), ("jobset", "components/crd/a.yaml")])
def test_a_controller_is_a_set_of_its_own(checkout: Checkout, tools: str, name: str, crd: str) -> None:
    """Its manifests lie beside it, and can be replaced although those of the module cannot be written."""
    build.run(checkout.root, name, tools)
    assert checkout.built() == {name, f"{name}-manifests"}
    folder = checkout.root / ".tools" / name / checkout.pin(name, CONTROLLERS[name])
    assert os.access(folder / name, os.X_OK)
    manifest = folder / "manifests" / crd
    assert manifest.read_text() == "kind: X"
    assert manifest.parent.stat().st_mode & 0o200
    (folder.parents[1] / "records" / name / folder.name / "manifests.json").unlink()
    assert checkout.make_tools(name) == {f"{name}-manifests"}
    assert checkout.make_tools(name) == set()


def test_unknown_set_names_the_sets(checkout: Checkout) -> None:
    """A mistyped set is answered with those that exist."""
    with pytest.raises(ToolchainError, match=r"'cluster-2': there are cluster, cluster-1\.36, jobset, kueue\."):
        checkout.make_tools("cluster-2")


def test_versions_are_stamped(checkout: Checkout) -> None:
    """A program reports the version that its go.mod pins."""
    kubernetes = checkout.pin("cluster", "k8s.io/kubernetes")
    flags = {program.name: program.ldflags for program in load_programs(checkout.root)}
    assert f"component-base/version.gitVersion={kubernetes} " in flags["kube-apiserver"]
    assert f"consts.KubeVersion={kubernetes}" in flags["kwokctl"]
    assert f"version.Version={checkout.pin('cli', PKG)}" in flags["pulumi"]


PKG = "github.com/pulumi/pulumi/pkg/v3"


def test_second_build_does_nothing(
    built: Checkout, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unchanged tools need one line and no Go at all."""
    monkeypatch.setenv("PATH", "")
    assert built.make_tools() == set()
    assert capsys.readouterr().out == "The tools are up to date (12 programs in .tools).\n"


@pytest.mark.parametrize(
    ("folder", "module", "rebuilt"),
    [
        ("cluster", "go.uber.org/zap", {"etcd", "kube-apiserver"}),
        ("cluster", "k8s.io/client-go", {"kwok", "kubectl"}),
        ("cluster", "sigs.k8s.io/kwok", {"kwok", "kwokctl"}),
        ("cluster", "go.etcd.io/etcd/server/v3", {"etcd"}),
        ("cluster", "github.com/spf13/cobra", set()),
        ("cluster-1.36", "k8s.io/kubernetes", set()),
        ("cli", "github.com/pulumi/pulumi/sdk/v3", {"pulumi"}),
        ("pulumi", "github.com/pulumi/pulumi-go-provider", {"pulumi-resource-command"}),
        ("language", "github.com/pulumi/pulumi/sdk/v3", {"pulumi-language-python", EXEC}),
    ],
)
def test_changed_pin_rebuilds_what_it_touches(built: Checkout, folder: str, module: str, rebuilt: set[str]) -> None:
    """Only programs that contain a module are built again when its version changes."""
    old = built.pin(folder, module).split()[-1]
    for line in (f"{module} {old}", f"{module} => {module} {old}"):
        go_mod = built.root / "toolchain" / folder / "go.mod"
        go_mod.write_text(go_mod.read_text().replace(f"{line}\n", f"{line}9\n"))
        go_mod.write_text(go_mod.read_text().replace(f"{line} //", f"{line}9 //"))
    assert built.pin(folder, module).endswith(f"{old}9")

    assert built.make_tools() == rebuilt
    assert built.make_tools() == set()


def test_new_kubernetes_version_rebuilds_what_is_stamped_with_it(built: Checkout) -> None:
    """Stamps and paths count too: etcd is wanted in the new version's folder."""
    old = built.pin("cluster", "k8s.io/kubernetes")
    built.replace("toolchain/cluster/go.mod", f"k8s.io/kubernetes {old}", "k8s.io/kubernetes v1.38.0")
    assert built.make_tools() == KUBERNETES | {"etcd"}


def test_language_version_of_go_mod_counts(built: Checkout) -> None:
    """The go line decides on defaults of the programs built there."""
    built.replace("toolchain/language/go.mod", "\ngo 1.26.0\n", "\ngo 1.26.1\n")
    assert built.make_tools() == {"pulumi-language-python", EXEC}


def test_own_sources_count_and_their_tests_do_not(built: Checkout) -> None:
    """The two plugin programs are built again when their code changes."""
    plugin = built.root / "toolchain/pulumi/pulumi-resource-command"
    (plugin / "some_test.go").write_text("package main")
    assert built.make_tools() == set()
    (plugin / "local/new.go").write_text("package local")
    assert built.make_tools() == {"pulumi-resource-command"}
    (plugin / "local/new.go").rename(plugin / "local/newer.go")
    assert built.make_tools() == {"pulumi-resource-command"}


def test_a_module_of_our_own_counts_for_the_programs_it_is_in(built: Checkout) -> None:
    """What replaces a module in go.mod may lie in the toolchain: then its files are its version."""
    package = built.root / "toolchain/pulumi/kubernetes-sdk/go/kubernetes"
    (package / "untyped.go").write_text("package kubernetes")
    assert built.make_tools() == {"pulumi-resource-kubernetes"}
    assert built.make_tools() == set()


def test_plugin_follows_its_python_package(built: Checkout) -> None:
    """A new version in requirements.txt gives a plugin of that version."""
    built.replace("requirements.txt", "pulumi-kubernetes==", "pulumi-kubernetes==1")
    assert built.make_tools() == {"pulumi-resource-kubernetes"}


@pytest.mark.parametrize("spoil", ["remove the program", "remove the record", "empty the record"])
def test_lost_files_are_made_again(built: Checkout, spoil: str) -> None:
    """The record alone does not count, nor does the program alone."""
    kubectl = next(item for item in load_programs(built.root) if item.name == "kubectl")
    if spoil == "empty the record":
        kubectl.record.write_text("")
    else:
        (kubectl.target if spoil == "remove the program" else kubectl.record).unlink()
    assert built.make_tools() == {"kubectl"}


def test_a_record_is_never_half_written(built: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed while it writes, a build leaves the record before."""

    def torn(path: Path, text: str) -> None:
        path.write_bytes(text[:9].encode())
        raise KeyboardInterrupt

    kubectl = next(item for item in load_programs(built.root) if item.name == "kubectl")
    before = kubectl.record.read_text()
    monkeypatch.setattr(Path, "write_text", torn)
    with pytest.raises(KeyboardInterrupt):
        kubectl.remember({}, {})
    assert kubectl.record.read_text() == before


def test_tools_can_be_copied_to_another_checkout(built: Checkout, tmp_path: Path) -> None:
    """Neither the place nor the time of a build is part of its record."""
    copy = tmp_path / "copy"
    shutil.copytree(built.root, copy, copy_function=shutil.copyfile)
    for path in (copy / ".tools").rglob("*"):
        path.chmod(0o755)
    assert all(program.is_current() for program in load_programs(copy))


def test_go_mod_and_build_info_agree() -> None:
    """What go.mod pins and what a program lists are written alike, replacements included."""
    go_mod = (
        "module m\n\ngo 1.26.0\n\nrequire a.b/c v1.0.0\n\nrequire (\n\td.e/f v2.0.0 // indirect\n"
        "\tg.h/i v0.1.0 // indirect\n)\n\nreplace (\n\td.e/f => x.y/z v3.0.0\n)\n\n"
        "replace g.h/i v0.1.0 => g.h/i v0.2.0\n\nreplace j.k/l => ./l\n\ntool a.b/c/cmd\n"
    )
    expected = {"a.b/c": "v1.0.0", "d.e/f": "x.y/z v3.0.0", "g.h/i": "g.h/i v0.2.0", "j.k/l": "./l"}
    info = (
        "x: go1.26.8\n\tpath\ta.b/c/cmd\n\tmod\ta.b/c\tv1.0.0\th1:1=\n\tdep\td.e/f\tv2.0.0\n"
        "\t=>\tx.y/z\tv3.0.0\th1:2=\n\tdep\tg.h/i\tv0.1.0\n\t=>\tg.h/i\tv0.2.0\th1:3=\n"
        "\tdep\tj.k/l\tv1.0.0\n\t=>\t./l\t(devel)\t\n"
        "\tbuild\t-trimpath=true\n"
    )
    assert parse_go_mod(go_mod) == expected | {"go": "1.26.0"}
    assert parse_build_info(info, parse_go_mod(go_mod)) == expected
    assert parse_build_info("\tmod\ttoolchain/pulumi\t(devel)\t\n", {}) == {}


@pytest.mark.parametrize(("version", "found"), [("", "none is on PATH"), ("1.25.9", "1.25.9 is on")])
def test_missing_or_old_go_is_one_line(checkout: Checkout, version: str, found: str) -> None:
    """The line says what is needed by the most demanding set, what there is and where to get it."""
    if version:
        checkout.add_go(version)
    else:
        (checkout.bin / "go").unlink()
    with pytest.raises(ToolchainError) as caught:
        build.run(checkout.root, "cluster", "")
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith("Go 1.26.6 or newer is needed")
    assert found in text
    assert "https://go.dev/dl/" in text


def test_failed_build_explains_itself(checkout: Checkout) -> None:
    """It names the program and ends Go's output; repeated, it goes on from there."""
    output = "\n".join([f"line {number}" for number in range(30)] + ["go: downloading a v1", "last line"])
    (checkout.bin / "fail-kubectl").write_text(output)
    with pytest.raises(ToolchainError) as caught:
        checkout.make_tools()
    first, *shown, last = str(caught.value).splitlines()
    assert first.startswith("kubectl could not be built")
    assert shown == [*(f"    line {number}" for number in range(11, 30)), "    last line"]
    assert str(checkout.root / ".tools/logs/cluster.log") in last

    (checkout.bin / "fail-kubectl").unlink()
    assert checkout.make_tools() == {*MODULES, EXEC} - {"kwokctl", "kwok", *CONTROL_PLANE}


def test_all_that_failed_is_named(checkout: Checkout) -> None:
    """One error may concern several programs of a set; those after it are built all the same."""
    for name in ("kwok", "kube-scheduler"):
        (checkout.bin / f"fail-{name}").write_text("error")
    with pytest.raises(ToolchainError, match=r"^kwok, kube-scheduler could not be built\."):
        checkout.make_tools()
    assert checkout.built() == {"kwokctl", "etcd", "kube-apiserver", "kube-controller-manager", "kubectl"}
    assert {path.split("/")[-1] for path in checkout.files()} == checkout.built()


@pytest.mark.parametrize(
    ("output", "advice"),
    [
        ("write /tmp/x: no space left on device", "The disk is full"),
        ('go: k8s.io/api@v0.37.2: Get "https://…": dial tcp: i/o timeout', "HTTPS_PROXY"),
        ("go: k8s.io/api@v0.37.2: reading https://…: 403 Forbidden", "HTTPS_PROXY"),
        ("compile: signal: killed", "memory"),
    ],
)
def test_failed_build_says_what_to_do(tmp_path: Path, output: str, advice: str) -> None:
    """Causes outside the code are recognised."""
    log = tmp_path / "x.log"
    log.write_text(output)
    assert advice in compiler.explain(["x"], log).splitlines()[-2]


def start_build(checkout: Checkout) -> subprocess.Popen[str]:
    """Start the real command line in the checkout, as a shell starts it: listening to Ctrl-C."""
    return subprocess.Popen(
        [sys.executable, checkout.root / "toolchain/build.py"],
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(path: Path) -> None:
    """Wait until a file is there and has something in it."""
    deadline = time.monotonic() + 600
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_build_continues(checkout: Checkout, number: signal.Signals) -> None:
    """Ctrl-C leaves one line, no process and nothing half-made; repeated, it goes on."""
    (checkout.bin / "slow-etcd").write_text("3600")
    process = start_build(checkout)
    wait_for(checkout.root / ".tools/partial/etcd")
    process.send_signal(number)
    _, errors = process.communicate(timeout=600)

    assert process.returncode == 130
    assert errors == "Interrupted. The same command continues where this one stopped.\n"
    with pytest.raises(ProcessLookupError):
        os.kill(int((checkout.bin / "pid").read_text()), 0)
    assert checkout.files() == {"bin/kwok", "bin/kwokctl"}
    assert not (checkout.root / ".tools/partial").exists()

    (checkout.bin / "slow-etcd").unlink()
    assert checkout.make_tools() == {*MODULES, EXEC} - {"kwok", "kwokctl"}


def test_two_builds_do_not_meet(checkout: Checkout) -> None:
    """The second one waits and finds the work done."""
    (checkout.bin / "slow-kwok").write_text("1")
    first = start_build(checkout)
    wait_for(checkout.root / ".tools/partial/kwok")
    second = start_build(checkout)
    outputs = [process.communicate(timeout=600) for process in (first, second)]
    assert [process.returncode for process in (first, second)] == [0, 0], outputs
    assert outputs[1][0] == "Another build is running in this checkout: waiting for it.\n"
    assert len((checkout.bin / "built").read_text().split()) == len({*MODULES, EXEC})


def test_progress_without_a_terminal(
    checkout: Checkout, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line at the start and the end, and a sign of life now and then."""
    monkeypatch.setattr(progress, "HEARTBEAT", 0.7)
    (checkout.bin / "slow-etcd").write_text("2")
    checkout.make_tools()
    first, *lines, last = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"Building 12 programs: about \d+ min on 2 cores from empty caches, once\.", first)
    assert any(re.fullmatch(r"2 of 12 programs built, \d+ s so far, about \d+ s to go", line) for line in lines)
    assert len(lines) < 7
    assert re.fullmatch(r"Built 12 programs in \d+ s\.", last)


def sized(name: str, seconds: int) -> Program:
    """Return a program that is expected to take some seconds."""
    return replace(load_programs(ROOT)[0], name=name, seconds=seconds)


def test_what_remains_follows_the_pace_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time to go shrinks while a program is built, and is corrected when it is there."""
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    told = progress.Progress(Console(), [sized("a", 100), sized("b", 200), sized("c", 60)])
    assert told.text(0) == "0 of 3 programs built, 0 s so far, about 6 min to go"
    now += 40
    assert told.text(7) == "0 of 3 programs built, 40 s so far, about 5 min to go, 7 modules downloaded"
    now += 10
    told.built("a")
    told.built("a")
    assert told.text(0) == "1 of 3 programs built, 50 s so far, about 2 min to go"
    now += 130
    assert told.text(0) == "1 of 3 programs built, 180 s so far"
    told.built("b")
    assert told.text(0) == "2 of 3 programs built, 180 s so far, about 36 s to go"


def test_progress_on_a_terminal() -> None:
    """One line that changes in place, and is gone at the end."""
    screen = io.StringIO()
    told = progress.Progress(Console(file=screen, force_terminal=True, width=40), [sized("a", 100)])
    told.show(0)
    told.show(0)
    told.close()
    assert "0 of 1 program built, 0 s so far" in screen.getvalue()
    assert screen.getvalue().count("\x1b[?25l") == screen.getvalue().count("\x1b[?25h") == 1


def test_short_disk_is_announced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too little space is said before the build, not by the compiler; the folder need not exist."""
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(0, 0, 3 * 2**30))
    build.warn_if_disk_is_full([tmp_path / "cache"])
    expected = f"Only 3.0 GiB are free for {tmp_path}/cache: a build from empty caches needs about 8 GiB in total.\n"
    assert capsys.readouterr().out == expected


def add_own_programs(checkout: Checkout, **versions: str) -> None:
    """Put the user's own programs on PATH; they print what the real ones do."""
    output = {
        "pulumi": "{}",
        "kubectl": '{{"clientVersion": {{"major": "1", "minor": "3", "gitVersion": "{}"}}}}',
        "kwokctl": "kwokctl version {} go1.26.8 (linux/amd64)",
        "etcd": "etcd Version: {}\nGit SHA: abc\nGo Version: go1.26.8",
    }
    for name, version in versions.items():
        checkout.add_program(name, f"#!/bin/sh\necho '{output[name].format(version)}'\n")


@pytest.fixture
def no_launchers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the scripts of the tests stand for programs."""
    monkeypatch.setattr(system, "is_launcher", lambda _: False)


@pytest.fixture
def own(checkout: Checkout, no_launchers: None) -> Checkout:
    """Return a fresh checkout whose user has some programs in exactly the pinned version, and some others."""
    pulumi, etcd = checkout.pin("cli", PKG), checkout.pin("cluster", "go.etcd.io/etcd/server/v3")
    add_own_programs(checkout, pulumi=pulumi, etcd=etcd.removeprefix("v"), kubectl="v1.37.2-eks", kwokctl="v0.8.01")
    for name in ("pulumi-language-python", EXEC):
        checkout.add_program(name, f"#!/bin/sh\n# the user's {name}\n")
    return checkout


def test_own_programs_of_the_pinned_version_are_taken(own: Checkout, capsys: pytest.CaptureFixture[str]) -> None:
    """They are copied and count as built, whatever becomes of them; what only resembles the version is not."""
    taken = {"pulumi", "etcd", "pulumi-language-python", EXEC}
    assert own.make_tools() == {*MODULES, EXEC} - taken
    pulumi, etcd = own.pin("cli", PKG), own.pin("cluster", "go.etcd.io/etcd/server/v3")
    language = own.pin("language", "github.com/pulumi/pulumi/sdk/v3")
    assert capsys.readouterr().out.splitlines()[0] == (
        f"Copied from your own programs of the pinned version: etcd {etcd},"
        f" pulumi-language-python {language}, {EXEC} {language}, pulumi {pulumi}."
    )
    for name in taken:
        (own.bin / name).unlink()
    assert own.make_tools() == set()
    assert "the user's" in (own.root / f".tools/bin/{EXEC}").read_text()
    assert (own.root / ".tools/bin/pulumi").is_file()
    assert not (own.root / ".tools/bin/pulumi").is_symlink()


def test_nothing_of_the_users_is_taken_if_so_wanted(own: Checkout) -> None:
    """TOOLS=built builds all of them."""
    (own.bin / "built").write_text("")
    build.run(own.root, "cluster", "built")
    assert own.built() == {*MODULES, EXEC}


def test_a_new_pin_replaces_what_was_taken(own: Checkout) -> None:
    """Etcd has no stamp and no folder of its version: its record says of which it is."""
    own.make_tools()
    etcd = own.pin("cluster", "go.etcd.io/etcd/server/v3")
    own.replace("toolchain/cluster/go.mod", f"etcd/server/v3 {etcd}", f"etcd/server/v3 {etcd}9")
    assert own.make_tools() == {"etcd"}


def test_no_go_is_needed_where_all_is_there(own: Checkout) -> None:
    """What is taken is not compiled."""
    assert own.make_tools() >= {"kubectl"}
    (own.bin / "go").unlink()
    (own.root / ".tools/bin/pulumi").unlink()
    build.run(own.root, "cluster", "")
    assert (own.root / ".tools/bin/pulumi").is_file()


@pytest.mark.parametrize("kept", ["PULUMI_HOME", "HOME"])
def test_own_plugins_are_taken(own: Checkout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: str) -> None:
    """Pulumi keeps them in folders that carry the version; one that is still coming has a mark beside it."""
    monkeypatch.setenv(kept, str(tmp_path / "own"))
    home = tmp_path / "own" / ("" if kept == "PULUMI_HOME" else ".pulumi")
    for path in checkout_paths(own):
        if "/plugins/" in path:
            plugin = home / path.removeprefix("pulumi/")
            plugin.parent.mkdir(parents=True)
            plugin.write_text("#!/bin/sh\n")
            plugin.chmod(0o755)
            mark = plugin.parent.with_name(f"{plugin.parent.name}.partial")
            mark.write_text("") if "kubernetes" in path else None
    built = own.make_tools()
    assert "pulumi-resource-command" not in built
    assert "pulumi-resource-kubernetes" in built


@pytest.mark.parametrize("place", ["a folder on PATH", "a link on PATH"])
def test_programs_of_a_checkout_are_nobodys_own(own: Checkout, place: str) -> None:
    """Neither this checkout's nor another one's: they may be built from other sources, and go away."""
    other = own.bin.parent / "other/.tools/bin"
    other.mkdir(parents=True)
    (own.bin / "pulumi").rename(other / "pulumi")
    if place == "a folder on PATH":
        os.environ["PATH"] += f":{other}"
    else:
        (own.bin / "pulumi").symlink_to(other / "pulumi")
    assert "pulumi" in own.make_tools()


@pytest.mark.parametrize(
    "script",
    [
        "exit 1",
        "echo v0.0.1",
        "echo {version}; exit 1",
        "echo {version}-rc.1",
        "echo 1{version}",
        "sleep 60",
        "trap '' TERM; while :; do echo {version}; done",
        "printf '\\377\\376'",
    ],
)
def test_a_program_that_does_not_answer_is_not_taken(
    own: Checkout, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    """It breaks and hangs nothing, and the build goes on without it."""
    monkeypatch.setattr(system, "PATIENCE", 0.5)
    own.add_program("pulumi", "#!/bin/sh\n" + script.format(version=own.pin("cli", PKG).removeprefix("v")))
    os.environ["PATH"] += ":/usr/bin:/bin"
    start = time.monotonic()
    assert system.take([load_programs(own.root)[-1]], own.root / "own") == {}
    assert time.monotonic() - start < 10


def test_an_answer_without_an_end_is_not_read_to_the_end(checkout: Checkout) -> None:
    """Its beginning is enough to see that it is no version."""
    checkout.add_program("endless", "#!/bin/sh\nwhile :; do echo v1.2.3; done\n")
    start = time.monotonic()
    assert system.answer([checkout.bin / "endless"]) == ""
    assert time.monotonic() - start < system.PATIENCE


def test_an_answer_does_not_wait_for_what_a_program_leaves_behind(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child that holds the output open is given up, and ended."""
    monkeypatch.setattr(system, "PATIENCE", 0.5)
    checkout.add_program("daemon", "#!/bin/sh\nsleep 60 & echo $!\n")
    os.environ["PATH"] += ":/usr/bin:/bin"
    child = int(system.answer([checkout.bin / "daemon"]))
    time.sleep(0.1)
    assert not Path(f"/proc/{child}").exists() or " Z " in Path(f"/proc/{child}/stat").read_text()


def test_a_launcher_is_not_taken(checkout: Checkout) -> None:
    """A script in place of a program starts the real one, wherever that is; what lies beside it is not taken then."""
    add_own_programs(checkout, pulumi=checkout.pin("cli", PKG))
    checkout.add_program("pulumi-language-python", "")
    assert {"pulumi", "pulumi-language-python"} <= checkout.make_tools()


def test_system_tools_are_used_and_nothing_is_built(checkout: Checkout, capsys: pytest.CaptureFixture[str]) -> None:
    """With fitting programs TOOLS=system says what it uses, and what kwokctl has to download."""
    add_own_programs(checkout, pulumi="v3.300.1", kubectl="v1.34.0", kwokctl="v0.8.0")
    checkout.add_program("etcd", "")
    build.run(checkout.root, "cluster", "system")
    out = capsys.readouterr().out
    assert out.startswith("Using pulumi 3.300.1, kubectl 1.34.0 and kwokctl 0.8.0 from PATH.")
    assert "kube-apiserver, kube-controller-manager, kube-scheduler, kwok" in out
    assert "etcd" not in out
    assert not (checkout.root / ".tools").exists()


def test_system_tools_that_will_not_do(checkout: Checkout) -> None:
    """One line per program: missing, too old, or without a version."""
    add_own_programs(checkout, pulumi="v3.99.0", kwokctl="unknown")
    with pytest.raises(ToolchainError) as caught:
        build.run(checkout.root, "cluster", "system")
    pulumi, kubectl, kwokctl = str(caught.value).splitlines()
    pinned = checkout.pin("cli", PKG).removeprefix("v")
    assert pulumi.startswith(f"pulumi {pinned} or newer is needed, 3.99.0 is on PATH: https://")
    assert kubectl.startswith("kubectl 1.34.0 or newer is needed, none is on PATH: https://")
    assert "`kwokctl --version` prints no version" in kwokctl


def test_unknown_value_of_tools(checkout: Checkout) -> None:
    """A mistyped TOOLS does not start a build of minutes."""
    with pytest.raises(ToolchainError, match="TOOLS=sytem is unknown"):
        build.run(checkout.root, "cluster", "sytem")


def test_fitting_programs_are_pointed_out_before_a_build(
    built: Checkout, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user who has everything hears of it; programs built by us do not count."""
    add_own_programs(built, pulumi="v3.300.1", kubectl="v1.34.0", kwokctl="v0.8.0")
    shutil.rmtree(built.root / ".tools/pulumi")
    built.make_tools()
    assert capsys.readouterr().out.splitlines()[0] == (
        "Found pulumi 3.300.1, kubectl 1.34.0 and kwokctl 0.8.0 on PATH: `make up TOOLS=system` would skip about 2 min."
    )
    other = built.bin.parent / "other/.tools/bin"
    other.parent.mkdir(parents=True)
    built.bin.rename(other)
    monkeypatch.setenv("PATH", str(other))
    assert system.hint(built.root) == ""


@pytest.mark.parametrize(
    ("output", "version"),
    [
        ("v3.215.0\n", (3, 215, 0)),
        ("v3.215.0-alpha.x123\n", (3, 215, 0)),
        ('{\n "clientVersion": {\n  "gitVersion": "v1.34.1-eks-abc",\n', (1, 34, 1)),
        ("kwokctl version v0.8.0 go1.26.8 (linux/amd64)\n", (0, 8, 0)),
        ("v1.34", (1, 34, 0)),
        ("command not found", ()),
    ],
)
def test_versions_are_read(output: str, version: tuple[int, ...]) -> None:
    """Each program prints its version in its own way."""
    assert system.parse_version(output) == version


def test_plugins_reach_the_users_own_home(built: Checkout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Missing plugins are installed into a PULUMI_HOME that the user has set; others are left."""
    home = tmp_path / "home"
    (home / "plugins/resource-command-v1.2.1").mkdir(parents=True)
    monkeypatch.setenv("PULUMI_HOME", str(home))
    built.make_tools()
    calls = (built.root / ".tools/bin/pulumi.calls").read_text().splitlines()
    plugin = next(path for path in checkout_paths(built) if "plugins/resource-kubernetes" in path)
    version = plugin.split("/")[-2].split("-")[-1]
    assert calls == [f"{home} plugin install resource kubernetes {version} --file {built.root / '.tools' / plugin}"]


@pytest.mark.parametrize("activated", ["this", "another"])
def test_activated_home_is_no_home_of_the_user(
    built: Checkout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, activated: str
) -> None:
    """Nothing is installed into the home of this checkout or of the one activated before."""
    root = built.root if activated == "this" else tmp_path / "another"
    if activated == "another":
        monkeypatch.setenv("KWOK_DRA_TOOLS", str(root / ".tools"))
    monkeypatch.setenv("PULUMI_HOME", str(root / ".tools/pulumi"))
    built.make_tools()
    assert not (built.root / ".tools/bin/pulumi.calls").exists()


def test_checks_compile_as_the_build_does() -> None:
    """With the flags of the build, the Makefile's vet and tests find everything in Go's cache."""
    assert f"GOFLAGS='{compiler.GOFLAGS}'" in (ROOT / "Makefile").read_text()


def test_compilers_share_half_of_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine with many cores and little memory they collect their garbage earlier."""
    monkeypatch.setattr(os, "sysconf", {"SC_PHYS_PAGES": 2**21, "SC_PAGE_SIZE": 2**12}.get)
    for cores, limit in ((2, 2**30), (8, 2**29), (16, 2**28), (None, 2**30)):
        monkeypatch.setattr(os, "cpu_count", lambda cores=cores: cores)
        assert compiler.memory_limit() == limit
