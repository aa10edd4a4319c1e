from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def dev() -> dict[str, Any]:
    """The dev stack's configuration by key, with the cluster name that the program adds."""
    settings = yaml.safe_load((ROOT / "Pulumi.dev.yaml").read_text())["config"]
    configuration = {key.removeprefix("kwok-dra:"): value for key, value in settings.items()}
    configuration["cluster"]["name"] = "kwok-dra-dev"
    return configuration
