"""Looks for known vulnerabilities with pip-audit in the pinned Python packages and govulncheck in the built programs.

    python toolchain/audit.py

Both query public databases, https://pypi.org and https://vuln.go.dev. An unreachable database is an error too.
GOVULNDB sets a different Go database; see the documentation of govulncheck.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NO_DATA = (
    "could not be audited",
    "fetching vulnerabilities",
    "Name or service not known",
    "Max retries exceeded",
)
"""What the two print when they have no data."""


def main() -> int:
    """Run both; return 0 if both had data and found no vulnerability."""
    results = [audit(*scan) for scan in scans()]
    return 0 if all(results) else 1


def scans() -> Iterator[tuple[str, Sequence[str], Path]]:
    """Yield each scan: its subject, its command and the folder in which the command runs."""
    packages = ROOT / "requirements-dev.txt"
    arguments = ["--strict", "--disable-pip", "--require-hashes", "--progress-spinner", "off"]
    yield packages.name, [sys.executable, "-m", "pip_audit", *arguments, "-r", str(packages)], ROOT
    database = ["-db", os.environ["GOVULNDB"]] if os.environ.get("GOVULNDB") else []
    for program in programs(ROOT / ".tools"):
        command = ["go", "tool", "govulncheck", *database, "-mode", "binary", str(program)]
        yield str(program.relative_to(ROOT)), command, ROOT / "toolchain" / "audit"


def programs(tools: Path) -> list[Path]:
    """Return the programs that were built, according to their records."""
    records = tools / "records"
    built = [record for record in records.rglob("*.json") if not json.loads(record.read_text())["recipe"]["copy"]]
    return sorted(tools / record.relative_to(records).with_suffix("") for record in built)


def audit(what: str, command: Sequence[str], folder: Path) -> bool:
    """Run one scan and print its result; return whether it had data and found no vulnerability."""
    environment = os.environ | {"GOFLAGS": "-buildvcs=false", "GOTOOLCHAIN": "local", "GOWORK": "off"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    text = (done.stdout + done.stderr).strip()
    if done.returncode == 0:
        print(f"{what}: no known vulnerability")
        return True
    without_data = next((line for line in text.splitlines() if any(words in line for words in NO_DATA)), None)
    if without_data:
        print(f"{what}: NOT CHECKED, its database cannot be reached or does not have it: {without_data}")
    else:
        print(f"{what}: vulnerabilities or an error\n{text}")
    return False


if __name__ == "__main__":
    sys.exit(main())
