"""The README's own example works as it stands there."""

import re

from tests.e2e.project import ROOT, Project


def test_the_example_of_a_stack_of_your_own(project: Project) -> None:
    (example,) = re.findall(r"^```yaml\n(.*?)^```", (ROOT / "README.md").read_text(), flags=re.DOTALL | re.MULTILINE)
    (project.source / "stacks" / "Pulumi.mine.yaml").write_text(example)
    project.select("mine")
    project.up()
    outputs = project.outputs()
    assert [len(claim["devices"]) for claim in outputs["claims"]] == [4, 4, 4]
    assert outputs["pools"] == [{"name": "big", "nodes": 2, "devices": 16, "allocated": 12, "free": 4}]
    assert outputs["clusterName"] == "kwok-dra-mine"
    project.destroy()
