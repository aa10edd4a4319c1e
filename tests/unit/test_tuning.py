"""The settings of a control plane that runs a simulated fleet."""

from topology.objects.tuning import FLAGS, Flag, Variable, component_patches, extra_args, variables

COMPONENTS = {"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok-controller"}


def kwokctl_reads(arguments: list[str]) -> dict[str, list[str]]:
    """Return the flags of each component as kwokctl 0.8.0 understands `--extra-args`.

    `mutationComponentPatches` in https://github.com/kubernetes-sigs/kwok/blob/v0.8.0/pkg/kwokctl/cmd/create/cluster/cluster.go
    """
    patches: list[tuple[str, list[str]]] = []
    positions: dict[str, int] = {}
    for position, argument in enumerate(arguments):
        component, key, value = argument.split("=", 2)
        if component in positions:
            patches[positions[component]][1].append(f"--{key}={value}")
            continue
        patches.append((component, [f"--{key}={value}"]))
        positions[component] = position
    return dict(patches)


def test_kwokctl_gives_each_component_its_flags() -> None:
    flags = [Flag("a", "x", "1"), Flag("a", "y", "b=c"), Flag("a", "z", "3"), Flag("b", "x", "4"), Flag("b", "w", "5")]
    assert kwokctl_reads(extra_args(flags)) == {"a": ["--x=1", "--y=b=c", "--z=3"], "b": ["--x=4", "--w=5"]}
    assert kwokctl_reads(extra_args(FLAGS)) == {
        component: [f"--{flag.key}={flag.value}" for flag in FLAGS if flag.component == component]
        for component in {flag.component for flag in FLAGS}
    }


def test_settings_are_of_components_that_exist() -> None:
    assert {flag.component for flag in FLAGS} <= COMPONENTS
    assert {variable.component for variable in variables(2**30)} == COMPONENTS


def test_components_may_take_parts_of_the_memory_before_go_collects_more_often() -> None:
    limits = {entry.component: entry.value for entry in variables(8 * 2**30) if entry.name == "GOMEMLIMIT"}
    assert limits.pop("kube-apiserver") == "2048MiB"
    assert set(limits.values()) == {"1024MiB"}


def test_a_component_has_one_patch_without_arguments() -> None:
    """kwokctl merges patches by component, and arguments would replace those of the configured document."""
    wanted = [Variable("a", "X", "1"), Variable("b", "X", "2"), Variable("a", "Y", "3")]
    assert component_patches(wanted) == [
        {"name": "a", "extraEnvs": [{"name": "X", "value": "1"}, {"name": "Y", "value": "3"}]},
        {"name": "b", "extraEnvs": [{"name": "X", "value": "2"}]},
    ]
