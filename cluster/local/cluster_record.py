"""The record of a cluster: whose it is, and how far its creation or removal is."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from cluster.local.paths import PROJECT, write_private


class ClusterRecord:
    """The file `kwok-dra.json` in the cluster's `folder`.

    Its keys: `owner`, the stack; `project`, the checkout; `id`; `state`, which is creating, created or removing;
    `known`, whether Pulumi's state has the cluster; `kwokctl`, the process that creates it; `repairs`; `broken`.
    """

    def __init__(self, folder: Path) -> None:
        """Describe the record of the cluster in `folder`, which need not exist."""
        self.folder = folder
        self.file = folder / "kwok-dra.json"
        self.removal = folder.parents[1] / f"{folder.name}.removing.json"

    def read(self) -> dict[str, Any]:
        """Return the record, from beside the folder if a removal was killed; empty for a cluster made by hand."""
        file = self.removal if self._is_half_removed() else self.file
        return parse(file.read_text()) if file.exists() else {}

    def update(self, **values: object) -> None:
        """Set keys of the record. An interrupted update leaves the record as it was."""
        write_private(self.file, json.dumps({**self.read(), **values}))

    def create(self, owner: str, cluster_id: str) -> None:
        """Make the folder, with a record that the owner's cluster is being created in it."""
        self.folder.mkdir(mode=0o700, parents=True)
        self.update(state="creating", owner=owner, project=str(PROJECT), id=cluster_id)

    def discard_interrupted_create(self) -> None:
        """Remove a folder that is empty because its creator was killed before it wrote the record."""
        self.file.with_suffix(".new").unlink(missing_ok=True)
        with suppress(OSError):  # it does not exist, or is not empty
            self.folder.rmdir()

    def start_removal(self) -> None:
        """Copy the record beside the folder: kwokctl deletes the files in the folder in any order."""
        if self.file.exists():
            self.update(state="removing")
            write_private(self.removal, self.file.read_text())

    def is_interrupted(self, owner: str) -> bool:
        """Tell whether the owner's create or removal in this checkout was interrupted, or the update around it."""
        record = self.read()
        if (record.get("owner"), record.get("project")) != (owner, str(PROJECT)):
            return False
        return record.get("state") in ("creating", "removing") or ("id" in record and not record.get("known"))

    def _is_half_removed(self) -> bool:
        """Tell whether a removal was killed, and nobody has created a cluster of this name since."""
        document = self.folder / "kwok.yaml"
        return (
            not self.file.exists()
            and self.removal.exists()
            and not (document.exists() and document.stat().st_mtime > self.removal.stat().st_mtime)
        )


def parse(text: str) -> dict[str, Any]:
    """Return the JSON object in a text; empty if the text is anything else."""
    try:
        parsed = json.loads(text)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}
