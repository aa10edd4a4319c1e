"""What a run with several workers says of itself: how far it has come, instead of a dot for each test."""

import time

import pytest

SECONDS_BETWEEN_LINES = 20


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
            return ("failed" if report.when == "call" else "error", "", "")
        return ("passed", "", "") if report.passed and report.when == "call" else None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Tell of each failure, and of what is over now and then."""
        name = report.nodeid.partition("@")[0]
        if report.failed:
            self._say(f"failed: {name}")
        self._done += report.when == "teardown"
        if report.when == "teardown" and time.monotonic() - self._told > SECONDS_BETWEEN_LINES:
            self._told = time.monotonic()
            self._say(f"{self._done} of {self._count} … {name}")

    def _say(self, line: str) -> None:
        self._config.pluginmanager.getplugin("terminalreporter").write_line(line)
