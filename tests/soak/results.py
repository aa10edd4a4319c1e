"""What has been killed so far, and whether it was survived: one line of JSON each, in a file that outlives the run."""

import json
from collections import defaultdict
from pathlib import Path
from threading import Lock
from typing import Any

Result = dict[str, Any]
"""`part`, `program`, `phase`, `number`, how many `times`, and `survived`; what else there is to say differs."""

NAMES = ("part", "program", "phase")

OPERATIONS = "operations"
"""The part in which each program is killed at each of its operations: `times` 0 says that there are no more."""


class Results:
    """The results of this run and of those before, which it continues."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.lock = Lock()
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        whole = file.read_text().rpartition("\n")[0] if file.exists() else ""  # the last line may be half of one
        self.found: list[Result] = [json.loads(line) for line in whole.splitlines()]
        new = file.with_suffix(".new")
        new.write_text(f"{whole}\n" if whole else "")
        new.replace(file)

    def add(self, result: Result) -> None:
        """Write a result down, and tell of it."""
        with self.lock:
            self.found.append(result)
            with self.file.open("a") as file:
                file.write(json.dumps(result) + "\n")
            said = ", ".join(f"{key} {value}" for key, value in result.items() if key not in ("part", "said"))
            print(f"{len(self.found)}: {result['part']}: {said}", flush=True)

    def survived(self, **wanted: object) -> set[int]:
        """Return the numbers of what was survived; another try of the rest comes with the next run."""
        return {int(found["number"]) for found in self._of(wanted) if found["survived"]}

    def times(self, **wanted: object) -> int:
        """Return how many times all of these were killed."""
        return sum(found["times"] for found in self._of(wanted))

    def _of(self, wanted: dict[str, object]) -> list[Result]:
        return [found for found in self.found if wanted.items() <= found.items()]

    def latest(self) -> list[Result]:
        """Return the last try of each."""
        return list({tuple(found[key] for key in (*NAMES, "number")): found for found in self.found}.values())

    def table(self) -> str:
        """Return what was killed when, how many times, and how many of these were survived."""
        rows: dict[tuple[str, ...], list[Result]] = defaultdict(list)
        for result in self.latest():
            rows[tuple(result[key] for key in NAMES)].append(result)
        lines = ["| part | what was killed | in | times | survived |", "|---|---|---|---|---|"]
        for names, found in sorted(rows.items()):
            times = sum(result["times"] for result in found)
            survived = sum(result["times"] for result in found if result["survived"])
            whole = " (all)" if names[0] == OPERATIONS and not all(result["times"] for result in found) else ""
            lines.append(f"| {' | '.join(names)} | {times}{whole} | {survived} |")
        return "\n".join(lines)
