"""The stacks of tests/data/answers: public reports of claims that got no devices, or the wrong ones.

Each file has a comment with its source, `stacks` by name, and the `files` that these name.
"""

from collections.abc import Callable
from pathlib import Path

import yaml

from tests.e2e.project import ROOT
from topology.checks.validation import load
from topology.schema.stack import Topology


def topology(case: str, stack: str, folder: Path, warn: Callable[[str], object] = lambda _: None) -> Topology:
    """Load a stack of a case; its files are written to `folder`, and it is told what is warned of.

    Raises:
        ConfigurationError: the stack is refused.
    """
    content = yaml.safe_load((ROOT / "tests" / "data" / "answers" / f"{case}.yaml").read_text())
    for name, text in content.get("files", {}).items():
        (folder / name).write_text(text)
    return load({"cluster": {"name": "answers"}} | content["stacks"][stack], folder, warn=warn)
