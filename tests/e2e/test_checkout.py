"""A clone of this checkout with an empty HOME, the commands of the README, and what they leave."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.project import ROOT, TOOLS, kill, processes_of

PLAIN = ". toolchain/activate && pulumi up --yes --skip-preview --stack dev --expect-no-changes"
WITHOUT_SALT = "filter.pulumi-salt.clean=sed '/^encryptionsalt: /d'"
"""As in toolchain/activate: a clone has no salt, but a checkout in which a stack has been up has."""
NOISE = ("warning", "error", "retry", "traceback")


class Checkout:
    """A clone in a folder of its own, with the built programs and the installed packages of this one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "kwok-dra"
        self.home = folder / "home"
        self.home.mkdir(parents=True)
        self.folder.mkdir()
        self._git("init", "--quiet")
        self._git(f"--git-dir={self.folder / '.git'}", f"--work-tree={ROOT}", "-c", WITHOUT_SALT, "add", "--all")
        self._git("-c", "user.name=test", "-c", "user.email=test@localhost", "commit", "--quiet", "--message", "Copy")
        self._git("reset", "--quiet", "--hard")
        self._use_what_is_built()

    def _use_what_is_built(self) -> None:
        built = [TOOLS / name for name in ("bin", "kubernetes", "records", "pulumi/plugins")]
        for path in (*built, *Path(sys.prefix).iterdir()):
            place = self.folder / path.relative_to(ROOT)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(path)
        for file in self.folder.glob("requirements*.txt"):
            os.utime(file, (0, 0))  # older than what make takes for the time of the installation

    def _git(self, *arguments: str) -> str:
        command = ["git", "-c", "safe.directory=*", *arguments]
        return subprocess.run(command, cwd=self.folder, check=True, capture_output=True, text=True).stdout

    def run(self, *command: str) -> str:
        """Run a command as a newcomer does and return what the terminal shows; it has to succeed, without noise."""
        environment = {"HOME": str(self.home), "PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == 0, done.stdout
        assert not [word for word in NOISE if word in done.stdout.lower()], done.stdout
        return done.stdout

    def changes(self) -> str:
        """Return what `git status` shows."""
        return self._git("status", "--porcelain")

    def close(self) -> None:
        """End what a failed test left running."""
        subprocess.run(["make", "down"], cwd=self.folder, capture_output=True)
        for pid in processes_of(self.folder):
            kill(pid)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """Return one clone for all tests of this file."""
    made = Checkout(tmp_path_factory.mktemp("checkout"))
    yield made
    made.close()


def test_make_up(checkout: Checkout) -> None:
    assert "1 of 1 claims allocated" in checkout.run("make", "up")


def test_a_run_changes_no_file_of_the_clone(checkout: Checkout) -> None:
    assert checkout.changes() == ""
    assert "encryptionsalt" in (checkout.folder / "Pulumi.dev.yaml").read_text()


def test_a_kill_can_tear_no_file_of_the_state(checkout: Checkout) -> None:
    """A file that is not written in one step is a sidecar of Pulumi's file backend: there is none."""
    assert not list((checkout.folder / ".state").rglob("*.attrs"))


def test_a_state_that_was_torn_is_whole_again(checkout: Checkout) -> None:
    (checkout.folder / ".state/.pulumi/stacks/kwok-dra/dev.json.attrs").touch()
    checkout.run("make", "up")


def test_plain_pulumi_needs_no_salt_of_the_clone(checkout: Checkout) -> None:
    """`git checkout` takes it away again."""
    file = checkout.folder / "Pulumi.dev.yaml"
    file.write_text("".join(line for line in file.open() if not line.startswith("encryptionsalt:")))
    checkout.run("sh", "-c", PLAIN)
    assert checkout.changes() == ""


def test_make_down(checkout: Checkout) -> None:
    checkout.run("make", "down")
    assert checkout.changes() == ""
    assert not processes_of(checkout.folder)
    assert not list(checkout.home.iterdir())
    assert sorted(path.name for path in (checkout.folder / ".state").iterdir()) == [".pulumi", "kwok"]
