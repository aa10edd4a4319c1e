from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put empty files kwokctl and kubectl on PATH: the program looks for them but does not run them itself."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("kwokctl", "kubectl"):
        (folder / name).touch(mode=0o755)
    monkeypatch.setenv("PATH", str(folder))
    for name in ("KWOK_DRA_TOOLS", "PULUMI_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    return folder
