"""What `make audit` says of what its scanners find, or cannot look at."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "toolchain"))
import audit


def shell(script: str) -> list[str]:
    return ["sh", "-c", script]


@pytest.mark.parametrize(
    ("script", "passes", "says"),
    [
        ("exit 0", True, "x: no known vulnerability"),
        ("echo 'ERROR: pulumi: could not be audited' >&2; exit 1", False, "x: NOT CHECKED, its database cannot be"),
        ("echo 'govulncheck: fetching vulnerabilities: no such host' >&2; exit 1", False, "x: NOT CHECKED"),
        ("echo 'Found 1 known vulnerability: CVE-1'; exit 1", False, "x: vulnerabilities or an error\nFound 1 known"),
    ],
)
def test_results(script: str, passes: bool, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert audit.audit("x", shell(script), tmp_path) is passes
    assert capsys.readouterr().out.startswith(says)


def test_every_program_that_was_built_is_looked_at(tmp_path: Path) -> None:
    for path, copied in {"bin/kubectl": "", "bin/script": "folder/script", "pulumi/plugins/x-1.2.1/x": ""}.items():
        record = tmp_path / "records" / f"{path}.json"
        record.parent.mkdir(parents=True, exist_ok=True)
        record.write_text(json.dumps({"recipe": {"copy": copied}}))
    assert audit.programs(tmp_path) == [tmp_path / "bin/kubectl", tmp_path / "pulumi/plugins/x-1.2.1/x"]
