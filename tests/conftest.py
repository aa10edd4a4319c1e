"""How tests are handed out to several workers, and what such a run says of itself."""

import time

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

SECONDS_BETWEEN_LINES = 20
E2E = "tests/e2e/test_"
APART = (
    *(f"{E2E}{name}.py" for name in ("neighbours", "runtimes", "stacks", "twin")),
    *(f"{E2E}bulk.py::test_{name}" for name in ("an_update_that_is_interrupted", "more_than_one", "the_same_objects")),
    f"{E2E}faults.py::test_a_device_that_cannot_be_attached",
    f"{E2E}recovery.py::test_interrupted_create",
)
"""How the names of those end-to-end tests begin that need nothing of the other tests of their file."""

BY_VERSION = f"{E2E}scenarios.py"
"""The file in which only the cases of each test need one another."""

LONGEST_FIRST = [
    f"{E2E}{name}.py"
    for name in (
        *("interruptions", "recovery", "changes", "churn", "scenarios", "bulk", "long_life", "expectations"),
        *("existing", "faults", "mig", "vendor_manifests"),
    )
]
"""The files that take longest: so that no worker has one of them when all others are done."""


class Groups(LoadScopeScheduling):  # type: ignore[misc]
    """Hands out the end-to-end tests of a file together, but for those that are `APART`; all others one by one."""

    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid)


def group(nodeid: str) -> str:
    """Return what tests that one worker is to run, in their order, have in common."""
    if nodeid.startswith(BY_VERSION):
        return nodeid.partition("[")[0]
    return nodeid.partition("::")[0] if nodeid.startswith(E2E) and not nodeid.startswith(APART) else nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Groups:
    """Have tests handed out as said above."""
    return Groups(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put what needs a cluster last, and there what takes long first; what is `APART` fills the gaps in the end."""
    places = {file: place for place, file in enumerate(LONGEST_FIRST)}

    def place(item: pytest.Item) -> tuple[bool, bool, int]:
        is_apart = item.nodeid.startswith(APART)
        return (
            item.nodeid.startswith(E2E),
            is_apart,
            0 if is_apart else places.get(item.nodeid.partition("::")[0], len(places)),
        )

    items.sort(key=place)


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Do so where tests are handed out to workers, unless somebody asked for more or less than the usual output."""
    if config.getoption("numprocesses") and not hasattr(config, "workerinput") and not config.get_verbosity():
        config.pluginmanager.register(Progress(config), "progress")


class Progress:
    """Says every now and then how many tests are done, and which was the last."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._count = 0
        self._done = 0
        self._told = time.monotonic()

    @pytest.hookimpl
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        """Learn how many tests there are."""
        self._count = len(ids)

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """Count tests without a letter for each."""
        if report.failed:
            return ("failed", "", "FAILED") if report.when == "call" else ("error", "", "ERROR")
        return ("passed", "", "PASSED") if report.passed and report.when == "call" else None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Tell of each failure, and of what is over now and then."""
        if report.failed:
            self._say(f"failed: {report.nodeid}")
        self._done += report.when == "teardown"
        if report.when == "teardown" and time.monotonic() - self._told > SECONDS_BETWEEN_LINES:
            self._told = time.monotonic()
            self._say(f"{self._done} of {self._count} … {report.nodeid}")

    def _say(self, line: str) -> None:
        self._config.pluginmanager.getplugin("terminalreporter").write_line(line)
