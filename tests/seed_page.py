"""KWOK's page on Dynamic Resource Allocation, which the dev stack reproduces: its commands and its objects."""

import re
from pathlib import Path
from typing import Any

import yaml

PAGE = Path(__file__).parent / "data" / "kwok-dra.md"


def shell_blocks() -> list[str]:
    """Return the page's bash blocks in order.

    First the command that creates the cluster, then one `kubectl apply` per object; the last two blocks are
    `kubectl get` with its output below.
    """
    return re.findall(r"^```bash\n(.*?)^```", PAGE.read_text(), flags=re.DOTALL | re.MULTILINE)


def manifests() -> list[dict[str, Any]]:
    """Return the objects that the page applies, in order and as the page has them."""
    documents = (re.search(r"<<EOF\n(.*?)^EOF$", block, flags=re.DOTALL | re.MULTILINE) for block in shell_blocks())
    return [yaml.safe_load(document[1]) for document in documents if document]
