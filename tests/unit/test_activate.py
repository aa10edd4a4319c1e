"""Sourcing toolchain/activate in each kind of shell."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ACTIVATE = Path(__file__).resolve().parents[2] / "toolchain/activate"
SHELLS = [shell for shell in ("bash", "dash", "sh", "zsh") if shutil.which(shell)]
DUMP = f"{sys.executable} -c 'import json, os; print(json.dumps(dict(os.environ)))'"
SHELLS_OWN = {"_", "HOME", "LC_CTYPE", "LOGNAME", "OLDPWD", "PWD", "SHLVL"}
BUILT_ONLY = {"KWOK_DRA_TOOLS", "PULUMI_HOME", "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION"}
INSTALLED_ONLY = {"PULUMI_PYTHON_CMD"}


def make_checkout(folder: Path, built: bool = True) -> Path:
    """Return a folder that looks like a checkout, with or without built tools."""
    (folder / "toolchain").mkdir(parents=True)
    shutil.copy(ACTIVATE, folder / "toolchain")
    if built:
        (folder / ".tools/bin").mkdir(parents=True)
        (folder / ".tools/bin/pulumi").write_text("")
        (folder / ".tools/bin/pulumi").chmod(0o755)
        (folder / ".venv/bin").mkdir(parents=True)
        (folder / ".venv/bin/python").symlink_to(sys.executable)
    return folder


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a checkout with built tools; its path has a space in it."""
    return make_checkout(tmp_path / "a checkout")


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """Return a second checkout with built tools."""
    return make_checkout(tmp_path / "other")


def run(shell: str, script: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a script in a strict shell with few variables, from a folder outside of any checkout."""
    environment = {"PATH": "/usr/bin:/bin"} | variables
    command = [shutil.which(shell) or shell, "-c", f"set -eu\n{script}"]
    return subprocess.run(command, cwd="/", env=environment, capture_output=True, text=True)


def activated(shell: str, script: str, **variables: str) -> dict[str, str]:
    """Return the environment after a script, which must print nothing of its own."""
    done = run(shell, f"{script}\n{DUMP}", **variables)
    assert (done.returncode, done.stderr) == (0, "")
    found: dict[str, str] = json.loads(done.stdout)
    return {name: value for name, value in found.items() if name not in SHELLS_OWN}


def expected(root: Path) -> dict[str, str]:
    """Return what the activation of a checkout promises to set."""
    return {
        "PATH": f"{root}/.tools/bin:/usr/bin:/bin",
        "KWOK_DRA_TOOLS": f"{root}/.tools",
        "KWOK_WORKDIR": f"{root}/.state/kwok",
        "KUBECONFIG": f"{root}/.state/kwok/kubeconfig",
        "KUBECACHEDIR": f"{root}/.state/kwok/kubectl-cache",
        "PULUMI_PYTHON_CMD": f"{root}/.venv/bin/python",
        "PULUMI_HOME": f"{root}/.tools/pulumi",
        "PULUMI_BACKEND_URL": f"file://{root}/.state?metadata=skip",
        "PULUMI_CONFIG_PASSPHRASE": "",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        "KWOK_DRA_ACTIVE": str(root),
    }


def without_memory(environment: dict[str, str]) -> dict[str, str]:
    """Leave out the list by which an activation knows what it has set."""
    return {name: value for name, value in environment.items() if name != "KWOK_DRA_SET"}


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("script", [". '{}'", ". '{}'\n. '{}'", "(. '{}')\n. '{}'"])
def test_activation_from_anywhere(shell: str, script: str, checkout: Path) -> None:
    """It finds its own checkout, prints nothing, and a second time changes nothing."""
    found = activated(shell, script.replace("{}", f"{checkout}/toolchain/activate"))
    assert without_memory(found) == expected(checkout)
    state = checkout / ".state"
    assert state.is_dir()
    assert state.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("place", [".", "toolchain"])
def test_activation_by_a_relative_path(shell: str, place: str, checkout: Path) -> None:
    """The checkout is found from inside too."""
    path = "./activate" if place == "toolchain" else "toolchain/activate"
    script = f"cd '{checkout}/{place}'\n. {path}"
    assert without_memory(activated(shell, script)) == expected(checkout)


@pytest.mark.parametrize("shell", SHELLS)
def test_nothing_is_left_behind(shell: str, checkout: Path) -> None:
    """No helper, variable or function, stays in the shell."""
    done = run(shell, f". '{checkout}/toolchain/activate'\nset\ntypeset -f 2>/dev/null || :")
    assert done.returncode == 0
    assert "_kwok_dra" not in done.stdout


@pytest.mark.parametrize("shell", SHELLS)
def test_nothing_of_the_users_is_overridden(shell: str, checkout: Path) -> None:
    """Whatever has a value keeps it, through a second activation too."""
    own = {name: f"my {name}" for name in expected(checkout) if name not in ("PATH", "KWOK_DRA_ACTIVE")}
    own["PULUMI_BACKEND_URL"] = "s3://mine"
    script = f". '{checkout}/toolchain/activate'\n. '{checkout}/toolchain/activate'"
    found = activated(shell, script, **own)
    assert {name: found[name] for name in own} == own


@pytest.mark.parametrize("shell", SHELLS)
def test_a_passphrase_file_is_enough(shell: str, checkout: Path) -> None:
    """An empty passphrase would take precedence over the user's file."""
    found = activated(shell, f". '{checkout}/toolchain/activate'", PULUMI_CONFIG_PASSPHRASE_FILE="/mine")
    assert "PULUMI_CONFIG_PASSPHRASE" not in found


@pytest.mark.parametrize("shell", SHELLS)
def test_values_set_after_an_activation_are_the_users(shell: str, checkout: Path, other: Path) -> None:
    """The next activation takes back its own values and leaves those."""
    script = (
        f". '{checkout}/toolchain/activate'\n"
        "export PULUMI_BACKEND_URL=s3://mine PULUMI_CONFIG_PASSPHRASE=secret PATH=/mine:$PATH\n"
        f". '{other}/toolchain/activate'"
    )
    found = without_memory(activated(shell, script))
    assert found == expected(other) | {
        "PULUMI_BACKEND_URL": "s3://mine",
        "PULUMI_CONFIG_PASSPHRASE": "secret",
        "PATH": f"{other}/.tools/bin:/mine:/usr/bin:/bin",
    }


@pytest.mark.parametrize("shell", SHELLS)
def test_another_checkout_takes_over(shell: str, checkout: Path, other: Path) -> None:
    """Nothing of the first one remains, from a child shell neither."""
    first, second = (f". '{root}/toolchain/activate'" for root in (checkout, other))
    assert without_memory(activated(shell, f"{first}\n{second}")) == expected(other)
    inherited = activated(shell, first)
    assert without_memory(activated(shell, second, **inherited)) == expected(other)


@pytest.mark.parametrize("shell", SHELLS)
def test_system_tools_need_no_build(shell: str, tmp_path: Path) -> None:
    """With TOOLS=system only the places of state are set."""
    root = make_checkout(tmp_path / "unbuilt", built=False)
    found = without_memory(activated(shell, f". '{root}/toolchain/activate'", TOOLS="system"))
    wanted = {name: value for name, value in expected(root).items() if name not in BUILT_ONLY | INSTALLED_ONLY}
    assert found == wanted | {"PATH": "/usr/bin:/bin", "TOOLS": "system"}


@pytest.mark.parametrize("shell", SHELLS)
def test_system_tools_after_built_ones(shell: str, checkout: Path) -> None:
    """The built programs leave PATH again."""
    activate = f". '{checkout}/toolchain/activate'"
    found = activated(shell, f"{activate}\nexport TOOLS=system\n{activate}")
    assert found["PATH"] == "/usr/bin:/bin"
    assert not BUILT_ONLY & set(found)


@pytest.mark.parametrize("shell", SHELLS)
def test_what_the_user_has_set_alike_stays(shell: str, checkout: Path) -> None:
    """A value is taken back because the activation set it, not because of what it is."""
    activate = f". '{checkout}/toolchain/activate'"
    name = "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION"
    found = activated(shell, f"{activate}\nexport TOOLS=system\n{activate}", **{name: "true"})
    assert found[name] == "true"


@pytest.mark.parametrize("shell", SHELLS)
def test_unbuilt_tools_are_one_line(shell: str, tmp_path: Path) -> None:
    """The line says what to do; the shell stays as it was."""
    root = make_checkout(tmp_path / "unbuilt", built=False)
    done = run(shell, f"set +e\n. '{root}/toolchain/activate' || echo failed\nset")
    assert done.stderr == "The tools are not built yet: run `make tools` first, or set TOOLS=system.\n"
    assert done.stdout.startswith("failed\n")
    assert "kwok_dra" not in done.stdout.lower().replace(str(root), "")
    assert "PULUMI" not in done.stdout
    assert not (root / ".state").exists()


@pytest.mark.parametrize("shell", SHELLS)
def test_what_a_kill_can_leave_empty_is_removed(shell: str, checkout: Path) -> None:
    """A sidecar of the local backend goes, whole or torn, and an empty lock; the state itself is not touched."""
    stacks = checkout / ".state/.pulumi/stacks/kwok-dra"
    stacks.mkdir(parents=True)
    for name, content in {"dev.json": "{}", "dev.json.attrs": "", "dev.json.bak.attrs": "{}"}.items():
        (stacks / name).write_text(content)
    locks = checkout / ".state/.pulumi/locks/organization/kwok-dra/dev"
    locks.mkdir(parents=True)
    for name, content in {"1.json.18ec.tmp": "", "2.json": "{}", "3.json.18ed.tmp": "{}"}.items():
        (locks / name).write_text(content)
    activated(shell, f". '{checkout}/toolchain/activate'")
    assert {file.name: file.read_text() for file in stacks.iterdir()} == {"dev.json": "{}"}
    assert sorted(file.name for file in locks.iterdir()) == ["2.json", "3.json.18ed.tmp"]


@pytest.mark.parametrize("shell", SHELLS)
def test_the_backend_that_an_older_release_set_is_taken_back(shell: str, checkout: Path) -> None:
    inherited = activated(shell, f". '{checkout}/toolchain/activate'")
    inherited["PULUMI_BACKEND_URL"] = f"file://{checkout}/.state"
    found = without_memory(activated(shell, f". '{checkout}/toolchain/activate'", **inherited))
    assert found == expected(checkout)


@pytest.mark.parametrize("backend", ["", "s3://mine"])
def test_the_salt_of_the_local_backend_is_kept_out_of_git(checkout: Path, backend: str) -> None:
    """That of a backend of the user's own is committed as Pulumi's documentation says."""
    (checkout / "stacks").mkdir()
    stack = checkout / "stacks" / "Pulumi.dev.yaml"
    stack.write_text("config: {}\n")
    (checkout / ".gitattributes").write_text((ACTIVATE.parents[1] / ".gitattributes").read_text())
    run("sh", f"cd '{checkout}' && git init -q && git add stacks .gitattributes")
    activated("sh", f". '{checkout}/toolchain/activate'", PULUMI_BACKEND_URL=backend)
    stack.write_text("config: {}\nencryptionsalt: v1:abc=\n")
    status = run("sh", f"cd '{checkout}' && git status --porcelain stacks").stdout
    assert status == ("AM stacks/Pulumi.dev.yaml\n" if backend else "A  stacks/Pulumi.dev.yaml\n")
