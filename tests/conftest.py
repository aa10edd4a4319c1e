"""How tests are distributed to several workers, and how such a run reports its progress."""

import time

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

SECONDS_BETWEEN_LINES = 20
E2E = "tests/e2e/test_"
INDEPENDENT = (
    *(f"{E2E}{name}.py" for name in ("neighbours", "runtimes", "stacks", "twin")),
    *(f"{E2E}bulk.py::test_{name}" for name in ("an_update_that_is_interrupted", "more_than_one", "the_same_objects")),
    f"{E2E}faults.py::test_a_device_that_cannot_be_attached",
    f"{E2E}recovery.py::test_interrupted_create",
)
"""The prefixes of the end-to-end tests that do not depend on other tests of their file."""

BY_VERSION = f"{E2E}scenarios.py"
"""The file in which only the cases of one test depend on each other."""

LONGEST_FIRST = [
    f"{E2E}{name}.py"
    for name in (
        *("interruptions", "recovery", "changes", "churn", "scenarios", "bulk", "long_life", "expectations"),
        *("existing", "faults", "mig", "vendor_manifests", "answers", "twin_cases"),
    )
]
"""The files that take longest: they start first, so that no worker still runs one when all others are done."""


class Groups(LoadScopeScheduling):  # type: ignore[misc]
    """Distributes the end-to-end tests of a file together, except `INDEPENDENT` ones; all other tests one by one."""

    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid)


def group(nodeid: str) -> str:
    """Return the group of a test: one worker runs the tests of a group, in their order."""
    if nodeid.startswith(BY_VERSION):
        return nodeid.partition("[")[0]
    return nodeid.partition("::")[0] if nodeid.startswith(E2E) and not nodeid.startswith(INDEPENDENT) else nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Groups:
    """Distribute tests in groups."""
    return Groups(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the tests: first those without a cluster, then the longest files; `INDEPENDENT` tests fill the gaps."""
    places = {file: place for place, file in enumerate(LONGEST_FIRST)}

    def place(item: pytest.Item) -> tuple[bool, bool, int]:
        is_independent = item.nodeid.startswith(INDEPENDENT)
        return (
            item.nodeid.startswith(E2E),
            is_independent,
            0 if is_independent else places.get(item.nodeid.partition("::")[0], len(places)),
        )

    items.sort(key=place)


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Report the progress of several workers, unless the user asked for more or less output than usual."""
    if config.getoption("numprocesses") and not hasattr(config, "workerinput") and not config.get_verbosity():
        config.pluginmanager.register(Progress(config), "progress")


class Progress:
    """Prints at intervals how many tests are done, and the last one."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._count = 0
        self._done = 0
        self._printed = time.monotonic()

    @pytest.hookimpl
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        """Store the number of tests."""
        self._count = len(ids)

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """Count tests without a letter for each."""
        if report.failed:
            return ("failed", "", "FAILED") if report.when == "call" else ("error", "", "ERROR")
        return ("passed", "", "PASSED") if report.passed and report.when == "call" else None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Print each failure and, at intervals, the progress."""
        if report.failed:
            self._print(f"failed: {report.nodeid}")
        self._done += report.when == "teardown"
        if report.when == "teardown" and time.monotonic() - self._printed > SECONDS_BETWEEN_LINES:
            self._printed = time.monotonic()
            self._print(f"{self._done} of {self._count} … {report.nodeid}")

    def _print(self, line: str) -> None:
        self._config.pluginmanager.getplugin("terminalreporter").write_line(line)
