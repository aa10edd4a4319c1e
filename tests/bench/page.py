"""The dev stack beside the same page typed by hand."""

from pathlib import Path

from tests.bench.measurements import Measurements, Quantity
from tests.e2e.page import Page
from tests.e2e.project import Project

BY_HAND = Quantity("page", "by hand")
UP = Quantity("page", "up")
AGAIN = Quantity("page", "up, again")
DESTROY = Quantity("page", "destroy")
NODES = 1


class SeedPage:
    """KWOK's page by hand, and the dev stack, which has the same objects."""

    def __init__(self, folder: Path) -> None:
        self.page = Page(folder / "page")
        self.project = Project(folder / "dev")
        self.project.select()

    def measure(self, measurements: Measurements) -> None:
        """Type the page, wait until its pod runs, and do the same with the stack; deleting the page does not count."""
        with measurements.timed(BY_HAND, NODES):
            self.page.create()
        self.page.delete()
        with measurements.timed(UP, NODES):
            self.project.up()
        with measurements.timed(AGAIN, NODES):
            self.project.up()
        with measurements.timed(DESTROY, NODES):
            self.project.destroy()
