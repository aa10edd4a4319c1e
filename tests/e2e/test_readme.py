"""The README's own example works as it stands there."""

import re

from tests.e2e.project import ROOT, Project


def test_the_example_of_a_stack_of_your_own(project: Project) -> None:
    _, _, section = (ROOT / "README.md").read_text().partition("## A stack of your own")
    example = re.findall(r"^```yaml\n(.*?)^```", section, flags=re.DOTALL | re.MULTILINE)[0]
    (project.source / "stacks" / "Pulumi.mine.yaml").write_text(example)
    project.select("mine")
    project.up()
    outputs = project.outputs()
    assert [len(claim["devices"]) for claim in outputs["claims"]] == [4, 4, 4]
    assert outputs["pools"] == [{"name": "big", "nodes": 2, "devices": 16, "allocated": 12, "free": 4}]
    assert outputs["clusterName"] == "kwok-dra-mine"
    project.destroy()
