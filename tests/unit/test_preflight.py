"""Configurations whose values are valid one by one, and the exact messages about their combinations."""

import json
from pathlib import Path
from typing import Any

import pytest

from topology.checks import allocation
from topology.checks.validation import ConfigurationError, load
from topology.kubernetes.feature_gates import FEATURES
from topology.schema.catalogue import built_in
from topology.schema.devices import DeviceModel

Configuration = dict[str, Any]

DRIVER = "gpu.example.com"
POOL = "nodePools[0]"
GPU = f"{POOL}.gpu"
CLAIM = "workloads[0].claims[0]"
REQUEST = f"{CLAIM}.requests[0]"
MODEL = f"{DRIVER}/model"
LABEL = "use at most 63 lower-case letters, digits and '-', beginning and ending with a letter or digit"
NOWHERE = (
    "its pods may not run on any node of a: change its nodeSelector, give it tolerations for the pools' taints, "
    "or change the pools' labels or taints"
)
TOGETHER = "not even an empty node of a can satisfy them all at once: ask for less, or loosen selectors and constraints"
HOSTS = ", ".join(sorted(built_in().hosts))
KEYS = ", ".join(sorted(str(field.alias) for field in DeviceModel.model_fields.values()))


def gpu(**values: Any) -> Configuration:
    """Return an inline device."""
    attributes = {"model": {"string": "Example"}, "index": {"int": "{index}"}, "uuid": {"string": "GPU-{uuid}"}}
    return {"driver": DRIVER, "attributes": attributes, "capacity": {"memory": "80Gi"}} | values


def nic(**values: Any) -> Configuration:
    """Return a device of another driver."""
    return {"driver": "nic.example.com", "deviceName": "nic-{index}", "attributes": {"speed": {"int": 100}}} | values


def profile(name: str, size: int, placements: list[int], **values: Any) -> Configuration:
    """Return a MIG profile with one copy engine per memory slice, at most the seven of a GPU."""
    engines = {"copyEngines": min(size, 7), "decoders": 1, "jpegEngines": 1, "ofaEngines": 0}
    sizes = {"id": size, "size": size, "placements": placements, "multiprocessors": size * 16}
    return {"name": name, "memory": f"{size * 10}Gi"} | sizes | engines | values


MIG_GPU = gpu(
    mig=[
        profile("1g.10gb", 1, [0, 1, 2, 3, 4, 5, 6]),
        profile("1g.10gb+me", 1, [0, 1, 2, 3, 4, 5, 6], id=20, jpegEngines=2),
        profile("2g.20gb", 2, [0, 2, 4], copyEngines=1),
        profile("3g.40gb", 4, [0, 4], copyEngines=3),
        profile("7g.80gb", 8, [0], decoders=7, jpegEngines=7),
    ]
)
HOST = {"slots": [{"pcieRoot": "pci0000:16", "numaNode": 0, "gpu": "0000:18:00.0", "nic": "0000:19:00.0"}]}


def parts(count: int = 2, **values: Any) -> Configuration:
    """Return a device with `count` partitions, which share its memory."""
    partition = {"deviceName": "", "capacity": {"memory": "10Gi"}, "consumesCounters": {"memory": "10Gi"}}
    partitions = [partition | {"deviceName": f"gpu-{{index}}-part-{number}"} for number in range(count)]
    return gpu(partitions=partitions, counterSet="gpu-{index}-set", counters={"memory": "80Gi"}) | values


def shared(**policy: Any) -> Configuration:
    """Return a device that claims can share."""
    return gpu(
        allowMultipleAllocations=True, capacity={"memory": {"value": "80Gi", "requestPolicy": policy} if policy else 80}
    )


def stack(*pools: Configuration, claims: Any = (), **values: Any) -> Configuration:
    """Return a configuration of pools, and of one workload if there are claims."""
    workload = {"workloads": [{"name": "job", "claims": list(claims)}]} if claims else {}
    return {
        "cluster": {"name": "x"},
        "deviceClasses": [{"name": "gpu", "selectors": [f"device.driver == '{DRIVER}'"]}],
        "nodePools": [{"name": name} | pool for name, pool in zip(("a", "b"), pools, strict=False)],
        **workload,
        **values,
    }


def claim(*requests: Configuration, **values: Any) -> Configuration:
    """Return a claim; each request is for a `gpu` unless it sets something else."""
    numbered = [{"name": f"r{number}", "deviceClass": "gpu"} | request for number, request in enumerate(requests)]
    return {"name": "devices", "requests": numbered} | values


def job(**values: Any) -> Configuration:
    """Return a workload."""
    return {"name": "job", "claims": [claim({})]} | values


def version(minor: int, **cluster: Any) -> Configuration:
    """Return the key `cluster` for Kubernetes 1.`minor`."""
    return {"cluster": {"name": "x", "kubeVersion": f"1.{minor}.0"} | cluster}


def gates(minor: int, **values: bool) -> Configuration:
    """Return the key `cluster` with feature gates."""
    return version(minor, kubeFeatureGates=values)


def selecting(*expressions: str) -> Configuration:
    """Return a stack with devices of two drivers and one request with these selectors."""
    return stack({"gpu": gpu(), "devices": [{"model": nic()}]}, claims=[claim({"selectors": list(expressions)})])


def problems(configuration: Configuration, folder: Path = Path()) -> list[str]:
    """Return the problems as `key: message`."""
    with pytest.raises(ConfigurationError) as raised:
        load(configuration, folder)
    return [f"{problem.path}: {problem.message}" for problem in raised.value.problems]


Cases = list[tuple[Configuration, str]]
"""Configurations and their problems."""

LIMITS: Cases = [
    # Templates after their placeholders are filled in.
    (
        stack({"gpu": gpu(attributes={"model": {"string": "ä" * 40}})}),
        f"{POOL}: device gpu-0: attributes.model has 80 bytes; the Kubernetes API allows at most 64 bytes per string: "
        "make it shorter",
    ),
    (
        stack({"gpu": gpu(attributes={"model": {"string": "{node}-{uuid}-{uuid}"}})}),
        f"{POOL}: device gpu-0: attributes.model has 77 bytes; the Kubernetes API allows at most 64 bytes per string: "
        "make it shorter",
    ),
    (
        stack({"gpu": gpu(deviceName="GPU_{index}")}),
        f"{POOL}: deviceName gives 'GPU_0', which is not a DNS label: {LABEL}",
    ),
    (
        stack({"gpu": gpu(deviceName="g" * 61 + "{index}"), "gpusPerNode": 101}),
        f"{POOL}: deviceName gives 'ggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggg100', which is "
        f"not a DNS label: {LABEL}",
    ),
    (
        stack({"gpu": gpu(deviceName="gpu"), "gpusPerNode": 3}),
        f"{POOL}: deviceName gives several devices of gpu.example.com in one pool the name 'gpu': use {{index}} in "
        "it, or a different name for each model",
    ),
    (
        stack({"gpu": gpu(sliceName="UP_{node}-{suffix}")}),
        f"{POOL}: sliceName gives 'UP_a-0-22dg2', which is not a DNS subdomain: use at most 253 lower-case "
        "letters, digits, '-' and '.'",
    ),
    (
        stack({"gpu": parts(counterSet="SET_{index}")}),
        f"{POOL}: counterSet gives 'SET_0', which is not a DNS label: {LABEL}",
    ),
    (
        stack({"gpu": parts(counterSet="set"), "gpusPerNode": 2}),
        f"{POOL}: counterSet gives several counter sets of gpu.example.com in one pool the name 'set': use {{index}} "
        "in it, or a different name for each model",
    ),
    (
        stack({"gpu": MIG_GPU | {"deviceName": "g" * 52 + "{index}"}, "mig": "dynamic"}),
        f"{POOL}: deviceName gives 'gggggggggggggggggggggggggggggggggggggggggggggggggggg0-mig-1g10gb-1-0', which "
        f"is not a DNS label: {LABEL}\n"
        f"{POOL}: counterSet gives 'gggggggggggggggggggggggggggggggggggggggggggggggggggg0-counter-set', which is "
        f"not a DNS label: {LABEL}",
    ),
    (
        stack({"gpu": gpu(sliceName="{node}-{suffix}"), "devices": [{"model": nic(sliceName="{node}-{suffix}")}]}),
        f"{POOL}: sliceName gives slices of gpu.example.com and of nic.example.com the same names: use {{driver}} "
        "in it",
    ),
    # One name in two notations.
    (
        stack({"gpu": gpu(attributes={"uuid": {"string": "{uuid}"}, f"{DRIVER}/uuid": {"string": "{uuid}"}})}),
        f"{POOL}: device gpu-0: attributes.uuid and attributes.gpu.example.com/uuid are the same name to the "
        f"scheduler: remove one",
    ),
    (
        stack({"gpu": gpu(capacity={"memory": 1, f"{DRIVER}/memory": 1})}),
        f"{POOL}: device gpu-0: capacity.memory and capacity.gpu.example.com/memory are the same name to the "
        f"scheduler: remove one",
    ),
    # Numbers.
    (
        stack({"gpu": gpu(attributes={f"a{n}": {"int": n} for n in range(32)})}),
        f"{GPU}: has 33 attributes and capacities; the Kubernetes API allows at most 32 per device: remove some",
    ),
    (
        stack(
            {
                "gpu": gpu(capacity={f"c{n}": n for n in range(25)}),
                "attributes": {f"a{n}": {"int": n} for n in range(8)},
            }
        ),
        f"{POOL}: device gpu-0: has 36 attributes and capacities; the Kubernetes API allows at most 32 per device: "
        "remove some",
    ),
    (
        stack({"gpu": parts(attributes={f"a{n}": {"int": n} for n in range(32)})}),
        f"{GPU}: has 33 attributes and capacities; the Kubernetes API allows at most 32 per device: remove some",
    ),
    (
        stack({"gpu": parts(counters={f"c{n}": 1 for n in range(33)}, partitions=[{"deviceName": "gpu-{index}"}])}),
        f"{GPU}: has 33 counters; the Kubernetes API allows at most 32 per counter set: remove some",
    ),
    (
        stack({"gpu": parts(65)}),
        f"{POOL}: has 65 partitions of one device; the Kubernetes API allows at most 64 devices with counters, taints "
        f"or lists per ResourceSlice: remove some",
    ),
    (
        stack({"gpu": gpu(partitions=[{"deviceName": f"gpu-{{index}}-{n}"} for n in range(129)])}),
        f"{POOL}: has 129 partitions of one device; the Kubernetes API allows at most 128 devices per ResourceSlice: "
        f"remove some",
    ),
    (
        stack({"gpu": gpu(mig=[profile("1g.10gb", 1, [0])]), "gpusPerNode": 700, "mig": "dynamic"}),
        f"{POOL}: has 788 ResourceSlices in one pool; at most 729 fit: use fewer devices",
    ),
    # Counters.
    (stack({"gpu": gpu(counters={"memory": 1})}), f"{GPU}: must have both counterSet and counters, or neither"),
    (
        stack({"gpu": gpu(counters={"memory": 1}, counterSet="gpu-{index}")}),
        f"{GPU}: has counters, but no partitions that share them: add partitions, or remove the counters",
    ),
    (stack({"gpu": parts(counters={"Memory": 1})}), f"{GPU}.counters.Memory: 'Memory' is not a DNS label: {LABEL}"),
    (
        stack({"gpu": parts(counters={"cores": 1})}),
        f"{GPU}: partition gpu-{{index}}-part-0 consumes memory, which counters does not have: it has cores",
    ),
    (
        stack({"gpu": parts(counters={"memory": "9Gi"})}),
        f"{GPU}: partition gpu-{{index}}-part-0 consumes 10Gi of memory, but counters has only 9Gi",
    ),
    (
        stack({"gpu": parts(partitions=[{"deviceName": "gpu-{index}", "consumesCounters": {}}])}),
        f"{GPU}.partitions[0].consumesCounters: must have at least 1 entry, but has 0",
    ),
    # Request policies of shared devices.
    (
        stack({"gpu": gpu(capacity={"memory": {"value": 8, "requestPolicy": {"default": 1}}})}),
        f"{GPU}: has a requestPolicy, which needs allowMultipleAllocations: true: set it, or remove the policy",
    ),
    (
        stack({"gpu": shared(default=1, validValues=[1], validRange={"min": 1})}),
        f"{GPU}.capacity.memory: requestPolicy must not have both validValues and validRange: remove one of them",
    ),
    (
        stack({"gpu": shared(validRange={"min": 1})}),
        f"{GPU}.capacity.memory: requestPolicy needs a default: the amount for requests that ask for none",
    ),
    (
        stack({"gpu": shared(default=2, validValues=[1, 3])}),
        f"{GPU}.capacity.memory: requestPolicy must have a default that is one of its validValues",
    ),
    (
        stack({"gpu": shared(default=1, validValues=[1, 4, 2])}),
        f"{GPU}.capacity.memory: requestPolicy must list its validValues in ascending order, each once",
    ),
    (
        stack({"gpu": shared(default=1, validValues=[1, 1])}),
        f"{GPU}.capacity.memory: requestPolicy must list its validValues in ascending order, each once",
    ),
    (
        stack({"gpu": shared(default=1, validValues=[1, "90Gi"])}),
        f"{GPU}.capacity.memory: requestPolicy must not have validValues above the value of the capacity",
    ),
    (
        stack({"gpu": shared(default=1, validValues=list(range(1, 12)))}),
        f"{GPU}.capacity.memory.requestPolicy.validValues: must have at most 10 entries, but has 11",
    ),
    (
        stack({"gpu": shared(default=1, validRange={"min": 2})}),
        f"{GPU}.capacity.memory: requestPolicy needs a validRange with min <= default <= max <= the value of "
        "the capacity",
    ),
    (
        stack({"gpu": shared(default=1, validRange={"min": 1, "max": "90Gi"})}),
        f"{GPU}.capacity.memory: requestPolicy needs a validRange with min <= default <= max <= the value of "
        "the capacity",
    ),
    (
        stack({"gpu": shared(default=1, validRange={"min": 1, "step": 0})}),
        f"{GPU}.capacity.memory: requestPolicy needs a step above zero, with min + step <= the value of the capacity",
    ),
    (
        stack({"gpu": shared(default=3, validRange={"min": 1, "max": 9, "step": 4})}),
        f"{GPU}.capacity.memory: requestPolicy must have a default and a max that are whole steps above min",
    ),
    # Nodes.
    (
        stack({"gpu": gpu(node={"labels": {"product": "An Example"}})}),
        f"{POOL}: gives its nodes the label product with the value 'An Example': use at most 63 letters, digits, "
        "'-', '_' and '.', beginning and ending with a letter or digit",
    ),
    (
        stack({"gpu": gpu(node={"labels": {"product": "{product}"}})}),
        f"{GPU}.node.labels.product: '{{product}}' may use only the placeholders {{count}}, {{node}}",
    ),
    (
        stack({"gpu": gpu(), "capacity": {"example.com/gpu": 0.5}}),
        f"{POOL}: gives its nodes 500m of example.com/gpu, which must be a whole number",
    ),
    (
        stack({"gpu": gpu(), "taints": [{"key": "a", "value": "1"}, {"key": "a", "value": "2"}]}),
        f"{POOL}.taints: has 2 taints a with effect NoSchedule; a node can have only one: keep one",
    ),
    (
        stack({"gpu": gpu(), "taints": [{"key": "a", "value": "no spaces"}]}),
        f"{POOL}.taints[0].value: 'no spaces' is not a label's value: use at most 63 letters, digits, '-', '_' "
        "and '.', beginning and ending with a letter or digit",
    ),
    # Classes and claims.
    (
        stack(deviceClasses=[{"name": "gpu", "extendedResourceName": "gpu"}]),
        "deviceClasses[0].extendedResourceName: 'gpu' is not an extended resource: put a domain other than "
        "kubernetes.io before its name, such as example.com/gpu",
    ),
    (
        stack(deviceClasses=[{"name": "gpu", "extendedResourceName": "x.kubernetes.io/gpu"}]),
        "deviceClasses[0].extendedResourceName: 'x.kubernetes.io/gpu' is not an extended resource: put a domain "
        "other than kubernetes.io before its name, such as example.com/gpu",
    ),
    (stack({"gpu": gpu()}, claims=[claim(*[{}] * 33)]), f"{CLAIM}.requests: must have at most 32 entries, but has 33"),
    (
        stack({"gpu": gpu()}, claims=[claim({}, constraints=[{"matchAttribute": MODEL}] * 33)]),
        f"{CLAIM}.constraints: must have at most 32 entries, but has 33",
    ),
    (
        stack({"gpu": gpu()}, claims=[claim({"selectors": ["true"] * 33})]),
        f"{REQUEST}.selectors: must have at most 32 entries, but has 33",
    ),
    (
        stack({"gpu": gpu()}, claims=[claim({}, constraints=[{"matchAttribute": "model"}])]),
        f"{CLAIM}.constraints[0].matchAttribute: 'model' is not a fully qualified attribute name: put the domain "
        "before it, such as resource.kubernetes.io/pcieRoot",
    ),
    (
        stack({"gpu": gpu()}, claims=[claim({}, constraints=[{}])]),
        f"{CLAIM}.constraints[0]: must have exactly one of matchAttribute and distinctAttribute",
    ),
    (
        stack({"gpu": gpu()}, claims=[claim({}, constraints=[{"matchAttribute": MODEL, "distinctAttribute": MODEL}])]),
        f"{CLAIM}.constraints[0]: must have exactly one of matchAttribute and distinctAttribute",
    ),
    (
        stack(
            {"gpu": gpu()}, claims=[claim({}, {}, constraints=[{"requests": ["r0", "r2"], "matchAttribute": MODEL}])]
        ),
        f"{CLAIM}: constraints[0] names a request 'r2' that the claim does not have. Its requests are r0, r1",
    ),
    (
        stack(
            {"gpu": gpu()}, claims=[claim({}, {}, constraints=[{"requests": ["r0", "r0"], "matchAttribute": MODEL}])]
        ),
        f"{CLAIM}.constraints[0].requests: lists 'r0' more than once: list each value once",
    ),
    (
        stack({"gpu": gpu()}, claims=[claim({"capacity": {"my-memory": 1}})]),
        f"{REQUEST}.capacity.my-memory: 'my-memory' is not a qualified name: use a C identifier of at most 32 "
        "characters, optionally after a domain of at most 63, such as productName or gpu.example.com/productName",
    ),
]

MIG: Cases = [
    (
        stack({"gpu": gpu(), "mig": "dynamic"}),
        f"{POOL}.mig: is not possible: this model has no MIG profiles; remove it, or use another model",
    ),
    (
        stack({"gpu": MIG_GPU, "mig": "static"}),
        f"{POOL}.mig: must be dynamic or a list such as [{{profiles: {{1g.10gb: 7}}}}], but is 'static'",
    ),
    (
        stack({"gpu": MIG_GPU, "mig": [{"profiles": {}}]}),
        f"{POOL}.mig[0].profiles: must have at least 1 entry, but has 0",
    ),
    (
        stack({"gpu": MIG_GPU, "mig": [{"profiles": {"1g.10gb": 2**40}}]}),
        f"{POOL}.mig[0].profiles.1g.10gb: must be at most 12, but is 1099511627776",
    ),
    (
        stack({"gpu": MIG_GPU, "mig": [{"profiles": {"1g.10gb": 0}}]}),
        f"{POOL}.mig[0].profiles.1g.10gb: must be at least 1, but is 0",
    ),
    (
        stack({"gpu": MIG_GPU, "mig": [{"profile": "1g.10gb"}]}),
        f"{POOL}.mig[0].profile: there is no such key; did you mean 'profiles'? The keys here are gpus, profiles\n"
        f"{POOL}.mig[0].profiles: is required",
    ),
    (
        stack({"gpu": MIG_GPU, "mig": [{"profiles": {"1g.12gb": 1}}]}),
        f"{POOL}.mig[0].profiles.1g.12gb: this model has no such MIG profile; did you mean '1g.10gb'? Use one of "
        "1g.10gb, 1g.10gb+me, 2g.20gb, 3g.40gb, 7g.80gb",
    ),
    (
        stack(
            {
                "gpu": MIG_GPU,
                "mig": [{"profiles": {"3g.40gb": 2}}, {"gpus": [1], "profiles": {"1g.10gb": 1}}],
                "gpusPerNode": 2,
            }
        ),
        f"{POOL}.mig: 1 x 1g.10gb + 2 x 3g.40gb need more multiprocessors, memory than GPU 1 has: use fewer or "
        f"smaller profiles",
    ),
    (
        stack({"gpu": MIG_GPU, "mig": [{"profiles": {"7g.80gb": 1, "1g.10gb": 1}}]}),
        f"{POOL}.mig: 1 x 1g.10gb + 1 x 7g.80gb need more multiprocessors, copyEngines, decoders, jpegEngines, "
        "memory than GPU 0 has: use fewer or smaller profiles",
    ),
    (
        stack({"gpu": MIG_GPU, "mig": [{"profiles": {"1g.10gb+me": 4}}]}),
        f"{POOL}.mig: 4 x 1g.10gb+me need more jpegEngines than GPU 0 has: use fewer or smaller profiles",
    ),
    (
        stack({"gpu": MIG_GPU, "mig": [{"profiles": {"2g.20gb": 4}}]}),
        f"{POOL}.mig: 4 x 2g.20gb do not fit on GPU 0 together: use fewer or smaller profiles",
    ),
    (
        stack({"gpu": MIG_GPU, "mig": [{"gpus": [0, 2], "profiles": {"1g.10gb": 1}}], "gpusPerNode": 2}),
        f"{POOL}.mig[0].gpus: there is no GPU 2: a node has GPUs 0 to 1",
    ),
    (
        stack({"devices": [{"model": gpu()}, {"model": nic(), "mig": "dynamic"}]}),
        f"{POOL}.devices[1].mig: is not possible: this model has no MIG profiles; remove it, or use another model",
    ),
    (
        stack({"gpu": MIG_GPU, "devices": [{"model": MIG_GPU, "mig": [{"gpus": [1], "profiles": {"1g.10gb": 1}}]}]}),
        f"{POOL}.devices[0].mig[0].gpus: there is no GPU 1: a node has only GPU 0",
    ),
    (
        stack({"gpu": MIG_GPU | {"mig": [profile("8g", 8, [0])]}, "mig": "dynamic"}),
        f"{GPU}.mig[0].name: '8g' is not the name of a MIG profile: use one such as 1g.10gb or 1g.10gb+me",
    ),
    (
        stack({"gpu": MIG_GPU | {"mig": [profile("1g.10gb", 1, [12])]}, "mig": "dynamic"}),
        f"{GPU}.mig[0].placements[0]: must be less than 12, but is 12",
    ),
    (
        stack({"gpu": MIG_GPU | {"mig": [profile("1g.10gb", 1, [3]), profile("2g.20gb", 2, [0])]}}),
        f"{GPU}: places MIG profile 1g.10gb of size 1 at 3, but the GPU has 2 memory slices, the size of its largest "
        "profile",
    ),
]

ADDRESSES: Cases = [
    (
        stack({"gpu": gpu(attributes={"bus": {"string": "{pciBusID}"}})}),
        f"{GPU}: uses {{pciBusID}}, which depends on its slot: set slot: gpu or slot: nic",
    ),
    (
        stack({"gpu": gpu(attributes={"bus": {"string": "{pcieBus}"}}, slot="gpu")}),
        f"{GPU}: uses {{pcieBus}}, but the pool has no host: set kwok-dra:nodePools[0].host",
    ),
    (
        stack({"devices": [{"model": nic(deviceName="pci-{pciName}", slot="nic")}]}),
        f"{POOL}.devices[0].model: uses {{pciName}}, but the pool has no host: set kwok-dra:{POOL}.host",
    ),
    (
        stack({"gpu": parts(partitions=[{"deviceName": "gpu-{pciName}"}])}),
        f"{GPU}: uses {{pciName}}, which depends on its slot: set slot: gpu or slot: nic",
    ),
    (
        stack({"gpu": gpu(), "attributes": {"root": {"string": "{pcieRoot}"}}, "host": HOST}),
        f"{GPU}: uses {{pcieRoot}}, which depends on its slot: set slot: gpu or slot: nic",
    ),
    (
        stack({"gpu": gpu(), "host": "example-host"}),
        f"{POOL}.host: there is no host 'example-host' in the catalogue. Name one of {HOSTS}, or define it "
        "inline: {slots: [{pcieRoot: …, numaNode: …, gpu: …, nic: …}]}",
    ),
    (
        stack({"gpu": gpu(), "host": 4}),
        f"{POOL}.host: must be the name of a host or define one inline, but is 4",
    ),
    (stack({"gpu": gpu(), "host": {"slots": []}}), f"{POOL}.host.slots: must have at least 1 entry, but has 0"),
    (
        stack({"gpu": gpu(), "host": {"slots": [{"pcieRoot": "pci0000:16", "numaNode": 0}]}}),
        f"{POOL}.host.slots[0]: is empty: set gpu, nic or both to PCI addresses",
    ),
    (
        stack(
            {
                "devices": [{"model": nic(deviceName="pci-{pciName}", slot="nic")}],
                "host": {"slots": [{"pcieRoot": "pci0000:16", "numaNode": 0, "gpu": "0000:18:00.0"}]},
            }
        ),
        f"{POOL}.devices[0].model: has slot: nic, but no slot of the host has a nic: give the slots addresses, "
        "or use another host",
    ),
    (
        stack({"gpu": gpu(), "host": {"slots": [HOST["slots"][0] | {"gpu": "18:00.0", "pcieRoot": "0000:16"}]}}),
        f"{POOL}.host.slots[0].gpu: '18:00.0' is not a PCI address: use one such as 0000:18:00.0\n"
        f"{POOL}.host.slots[0].pcieRoot: '0000:16' is not a PCIe root complex: use one such as pci0000:16",
    ),
]

VERSIONS: Cases = [
    (
        stack(**gates(34, DRAListTypeAttributes=True)),
        "cluster.kubeFeatureGates.DRAListTypeAttributes: does not exist in Kubernetes 1.34 yet: leave it out, or "
        "use Kubernetes 1.36 or later",
    ),
    (
        stack(**gates(37, GangScheduling=False)),
        "cluster.kubeFeatureGates.GangScheduling: no longer exists in Kubernetes 1.37: leave it out",
    ),
    (
        stack(**gates(37, DRAAdminAccess=False)),
        "cluster.kubeFeatureGates.DRAAdminAccess: is always on in Kubernetes 1.37 and cannot be turned "
        "off: leave it out",
    ),
    (
        stack(**gates(35, DynamicResourceAllocation=False)),
        "cluster.kubeFeatureGates.DynamicResourceAllocation: is always on in Kubernetes 1.35 and cannot be turned "
        "off: leave it out",
    ),
    (
        stack(**gates(36, DRAWorkloadResourceClaims=True)),
        "cluster.kubeFeatureGates.DRAWorkloadResourceClaims: needs GenericWorkload, which is off: set "
        "GenericWorkload to true, or leave DRAWorkloadResourceClaims out",
    ),
    (
        stack(**gates(36, DRADeviceTaints=False, DRADeviceTaintRules=True)),
        "cluster.kubeFeatureGates.DRADeviceTaintRules: needs DRADeviceTaints, which is off: set DRADeviceTaints "
        "to true, or leave DRADeviceTaintRules out",
    ),
    (
        stack(**gates(36, DRAResourceClaimDeviceStatus=False)),
        "cluster.kubeFeatureGates.DRAResourceClaimDeviceStatus: is needed by DRADeviceBindingConditions, which "
        "is on by default: set DRADeviceBindingConditions to false too, or leave DRAResourceClaimDeviceStatus "
        "out\n"
        "cluster.kubeFeatureGates.DRAResourceClaimDeviceStatus: is needed by "
        "DRAResourceClaimGranularStatusAuthorization, which is on by default: set "
        "DRAResourceClaimGranularStatusAuthorization to false too, or leave DRAResourceClaimDeviceStatus out",
    ),
    (
        stack({"gpu": parts()}, **gates(36, DRAPartitionableDevices=False)),
        "cluster.kubeFeatureGates.DRAPartitionableDevices: must be on for partitionable devices, which "
        "nodePools[0] uses: remove the gate or the feature",
    ),
    (
        stack({"gpu": shared()}, **gates(36, DRAConsumableCapacity=False)),
        "cluster.kubeFeatureGates.DRAConsumableCapacity: must be on for consumable capacity, which "
        "nodePools[0] uses: remove the gate or the feature",
    ),
    (
        stack(
            {"gpu": gpu()},
            claims=[claim({}, constraints=[{"distinctAttribute": MODEL}])],
            **gates(36, DRAConsumableCapacity=False),
        ),
        "cluster.kubeFeatureGates.DRAConsumableCapacity: must be on for consumable capacity, which "
        "workloads[0].claims[0] uses: remove the gate or the feature",
    ),
    (
        stack(
            **gates(36, DRAExtendedResource=False), deviceClasses=[{"name": "gpu", "extendedResourceName": "x.y/gpu"}]
        ),
        "cluster.kubeFeatureGates.DRAExtendedResource: must be on for extended resources, which "
        "deviceClasses[0].extendedResourceName uses: remove the gate or the feature",
    ),
    (
        stack(**version(37, kubeRuntimeConfig={"resource.k8s.io/v1": False})),
        "cluster.kubeRuntimeConfig.resource.k8s.io/v1: must be served for the scheduler: remove it, or set it to true",
    ),
    (
        stack(**version(37, resourceApi="v1beta1", kubeRuntimeConfig={"resource.k8s.io/v1beta1": False})),
        "cluster.kubeRuntimeConfig.resource.k8s.io/v1beta1: must be served for cluster.resourceApi: remove it, or set "
        "it to true",
    ),
    (
        stack(
            **version(
                36,
                kubeFeatureGates={"DRADeviceTaintRules": True},
                kubeRuntimeConfig={"resource.k8s.io/v1beta2": False},
            )
        ),
        "cluster.kubeRuntimeConfig.resource.k8s.io/v1beta2: must be served for a feature that is used or turned on: "
        "remove it, or set it to true",
    ),
    (
        stack(**gates(38, DynamicResourceAllocation=False)),
        "cluster.kubeFeatureGates.DynamicResourceAllocation: is always on in Kubernetes 1.38 and cannot be turned "
        "off: leave it out",
    ),
    (
        stack(**gates(38, PodGroupPreemptionPolicy=True)),
        "cluster.kubeFeatureGates.PodGroupPreemptionPolicy: no longer exists in Kubernetes 1.38: leave it out",
    ),
    (
        stack(**version(38, resourceApi="v1beta1")),
        "cluster.resourceApi: is v1beta1, which Kubernetes 1.38 no longer serves: set it to v1, or remove it",
    ),
    (
        stack(**version(37, resourceApi="v1alpha3")),
        "cluster.resourceApi: must be one of 'auto', 'v1', 'v1beta2' or 'v1beta1', but is 'v1alpha3'",
    ),
    (
        stack({"gpu": parts(), "devices": [{"model": parts(driver="nic.example.com")}]}, **version(36)),
        f"{POOL}: has partitionable devices of gpu.example.com and nic.example.com in one pool, whose counters the "
        f"scheduler confuses before Kubernetes 1.37: set kwok-dra:cluster.kubeVersion to that version or newer, or "
        f"put them into different pools",
    ),
    (
        stack(
            {"gpu": parts(), "devices": [{"model": MIG_GPU | {"driver": "mig.example.com"}, "mig": "dynamic"}]},
            **version(34),
        ),
        f"{POOL}: has partitionable devices of gpu.example.com and mig.example.com in one pool, whose counters the "
        f"scheduler confuses before Kubernetes 1.37: set kwok-dra:cluster.kubeVersion to that version or newer, or "
        f"put them into different pools",
    ),
]

SELECTORS: Cases = [
    (
        stack({"gpu": gpu()}, deviceClasses=[{"name": "gpu", "selectors": ["true", "device.driver = 'x'"]}]),
        "deviceClasses[0].selectors[1]: Syntax error: token recognition error at: '= ' (line 1, column 15)",
    ),
    (
        selecting("true", "device.driver =="),
        f"{REQUEST}.selectors[1]: Syntax error: mismatched input '<EOF>' (line 1, column 17)",
    ),
    (
        selecting("node.name == 'a-0'"),
        f"{REQUEST}.selectors[0]: undeclared reference to 'node.name' (line 1, column 5)",
    ),
    (
        selecting("device.vendor == 'x'"),
        f"{REQUEST}.selectors[0]: undeclared reference to 'device.vendor' (line 1, column 7)",
    ),
    (selecting("device.driver"), f"{REQUEST}.selectors[0]: must evaluate to bool, but evaluates to string"),
    (
        selecting("device.driver == 4"),
        f"{REQUEST}.selectors[0]: found no matching overload for '_==_' applied to '(string, int)' (line 1, column 15)",
    ),
    (
        selecting(f"device.attributes['{DRIVER}'].modell == 'Example'"),
        f"{REQUEST}.selectors[0]: names gpu.example.com/modell, which device gpu-0 of pool a does not have; did "
        "you mean 'gpu.example.com/model'? The scheduler stops at such a device: check device.driver first, or "
        "use .?name.orValue(…). It has gpu.example.com/index, gpu.example.com/memory, gpu.example.com/model, "
        "gpu.example.com/uuid",
    ),
    (
        selecting(f"device.attributes['{DRIVER}'].architecture == 'Hopper'"),
        f"{REQUEST}.selectors[0]: names gpu.example.com/architecture, which device gpu-0 of pool a does not have. "
        "The scheduler stops at such a device: check device.driver first, "
        "or use .?name.orValue(…). It has gpu.example.com/index, gpu.example.com/memory, gpu.example.com/model, "
        "gpu.example.com/uuid",
    ),
    (
        selecting(f"device.capacity['{DRIVER}'].memori.isGreaterThan(quantity('1Gi'))"),
        f"{REQUEST}.selectors[0]: names gpu.example.com/memori, which device gpu-0 of pool a does not have; did "
        "you mean 'gpu.example.com/memory'? The scheduler stops at such a device: check device.driver first, or "
        "use .?name.orValue(…). It has gpu.example.com/index, gpu.example.com/memory, gpu.example.com/model, "
        "gpu.example.com/uuid",
    ),
    (
        stack(
            {"gpu": gpu(), "devices": [{"model": nic()}]},
            claims=[claim({})],
            deviceClasses=[{"name": "gpu", "selectors": [f"device.attributes['{DRIVER}'].model == 'Example'"]}],
        ),
        "deviceClasses[0].selectors[0]: names gpu.example.com/model, which device nic-0 of pool a does not have. "
        "The scheduler stops at such a device: check device.driver first, "
        "or use .?name.orValue(…). It has nic.example.com/speed",
    ),
    (
        stack(
            {
                "gpu": {
                    "driver": "gpu.nvidia.com",
                    "deviceName": "gpu-{index}",
                    "attributes": {"uuid": {"string": "{uuid}"}},
                }
            },
            claims=[claim({"deviceClass": "gpu.nvidia.com"})],
        ),
        f"{REQUEST}: class gpu.nvidia.com, which comes with driver gpu.nvidia.com, names gpu.nvidia.com/type, which "
        "device gpu-0 of pool a does not have. The scheduler stops at such a device, even if another node could run "
        "the pod: give the device this attribute, or replace the class with one of the same name, gpu.nvidia.com, "
        "under kwok-dra:deviceClasses",
    ),
    (
        selecting(f"device.attributes['{DRIVER}'].model.matches('[')"),
        f"{REQUEST}.selectors[0]: matches('[') fails: invalid regular expression: missing ]: [",
    ),
    (
        selecting(f"device.attributes['{DRIVER}'].index > 'a'"),
        f"{REQUEST}.selectors[0]: No matching overloads found : _>_(int64, string), for device gpu-0 of pool a",
    ),
]

CLAIMS: Cases = [
    # Requests for devices that do not exist.
    (
        stack(claims=[claim({})]),
        "workloads[0]: there are no nodes for its pods: add a pool with nodes to kwok-dra:nodePools",
    ),
    (
        stack({"gpu": gpu(), "nodes": 0}, claims=[claim({})]),
        "workloads[0]: there are no nodes for its pods: add a pool with nodes to kwok-dra:nodePools",
    ),
    (
        stack({"gpu": nic()}, claims=[claim({})]),
        f"{REQUEST}: wants 1 device of class gpu, but no node of a has any: name another class, or loosen what it "
        "asks for",
    ),
    (
        stack({"gpu": gpu(), "gpusPerNode": 2}, {"gpu": gpu(), "gpusPerNode": 4}, claims=[claim({"count": 5})]),
        f"{REQUEST}: wants 5 devices of class gpu, but no node of a, b has more than 4: ask for fewer, or give "
        "nodes more",
    ),
    (
        stack({"gpu": gpu()}, claims=[claim({"selectors": [f"device.attributes['{DRIVER}'].model == 'Other'"]})]),
        f"{REQUEST}: wants 1 device of class gpu matching its selectors, but no node of a has any: name "
        "another class, or loosen what it asks for",
    ),
    (
        stack({"gpu": gpu()}, claims=[claim({"capacity": {"memory": "81Gi"}})]),
        f"{REQUEST}: wants 1 device of class gpu with memory 81Gi, but no node of a has any: name another class, "
        "or loosen what it asks for",
    ),
    (
        stack({"gpu": gpu()}, claims=[claim({"capacity": {"cores": 1, "memory": 1}})]),
        f"{REQUEST}: wants 1 device of class gpu with cores 1, memory 1, but no node of a has any: name another "
        "class, or loosen what it asks for",
    ),
    (
        stack({"gpu": shared(default=1, validRange={"min": 1, "max": 8})}, claims=[claim({"capacity": {"memory": 9}})]),
        f"{REQUEST}: wants 1 device of class gpu with memory 9, but no node of a has any: name another class, or "
        "loosen what it asks for",
    ),
    # Requests that can be satisfied, but not together.
    (stack({"gpu": gpu()}, claims=[claim({}, {})]), f"workloads[0].claims: {TOGETHER}"),
    (stack({"gpu": gpu()}, claims=[claim({}), claim({}, name="more")]), f"workloads[0].claims: {TOGETHER}"),
    (stack({"gpu": shared(default="50Gi")}, claims=[claim({}, {})]), f"workloads[0].claims: {TOGETHER}"),
    (stack({"gpu": parts(9)}, claims=[claim({"count": 9})]), f"workloads[0].claims: {TOGETHER}"),
    (
        stack(
            {"gpu": gpu(), "gpusPerNode": 2},
            claims=[claim({"count": 2}, constraints=[{"matchAttribute": f"{DRIVER}/uuid"}])],
        ),
        f"workloads[0].claims: {TOGETHER}",
    ),
    (
        stack({"gpu": gpu(), "gpusPerNode": 2}, claims=[claim({}, {}, constraints=[{"distinctAttribute": MODEL}])]),
        f"workloads[0].claims: {TOGETHER}",
    ),
    (
        stack({"gpu": gpu()}, claims=[claim({}, constraints=[{"matchAttribute": "resource.kubernetes.io/pcieRoot"}])]),
        f"{CLAIM}.constraints[0]: names resource.kubernetes.io/pcieRoot, which no device that matches its requests "
        f"has. They have gpu.example.com/index, gpu.example.com/model, gpu.example.com/uuid",
    ),
    (
        stack({"gpu": gpu()}, claims=[claim({}, constraints=[{"distinctAttribute": f"{DRIVER}/modell"}])]),
        f"{CLAIM}.constraints[0]: names gpu.example.com/modell, which no device that matches its requests has; did "
        f"you mean 'gpu.example.com/model'? They have gpu.example.com/index, gpu.example.com/model, "
        "gpu.example.com/uuid",
    ),
    # Pods that may not run on the nodes with the devices.
    (stack({"gpu": gpu()}, workloads=[job(nodeSelector={"zone": "b"})]), f"workloads[0]: {NOWHERE}"),
    (stack({"gpu": gpu(), "taints": [{"key": "mine"}]}, claims=[claim({})]), f"workloads[0]: {NOWHERE}"),
    (stack({"gpu": gpu(), "labels": {"type": "gpu"}}, claims=[claim({})]), f"workloads[0]: {NOWHERE}"),
    (
        stack(
            {"gpu": gpu(), "taints": [{"key": "mine", "value": "x", "effect": "NoExecute"}]},
            {"gpu": nic()},
            workloads=[job(tolerations=[{"key": "mine", "effect": "NoSchedule", "value": "x"}])],
        ),
        f"{REQUEST}: wants 1 device of class gpu, but no node that its pods may run on (b) has any: name another "
        "class, or loosen what it asks for",
    ),
    (
        stack(workloads=[job(tolerations=[{"key": "a", "operator": "Exists", "value": "b"}])]),
        "workloads[0].tolerations[0]: has a value, which operator: Exists ignores: remove the value, or use Equal",
    ),
    (
        stack(workloads=[job(tolerations=[{"value": "b"}])]),
        "workloads[0].tolerations[0]: needs a key; without a key, use operator: Exists, which tolerates all taints",
    ),
    # Pools without devices.
    (
        stack({}),
        f"{POOL}: has no devices: set gpu, such as gpu: h100, or add devices; or add devices that all nodes or those "
        "with some labels can use to kwok-dra:fabricPools",
    ),
    (
        stack({"gpusPerNode": 2, "mig": "dynamic", "devices": [{"model": nic()}]}),
        f"{POOL}: has gpusPerNode, mig without gpu: set gpu, or set count, mig in the entries of devices instead",
    ),
]


ALL_OF_FIVE = [f"r{number}/a{other}" for number in range(5) for other in range(8)]
LONG = "a" * 254
FOUND_BY_PROPERTIES: list[tuple[Configuration, str]] = [
    (
        stack({"gpu": gpu(), "faults": [{"taint": {"key": f"a{number}"}, "nodes": [0]} for number in range(17)]}),
        f"{POOL}.faults: give device gpu-0 of a-0 17 taints; the Kubernetes API allows at most 16 per device: "
        f"remove some",
    ),
    (
        stack({"gpu": gpu(firstGeneration=2**64)}),
        f"{GPU}.firstGeneration: must be at most 9007199254740991, but is 18446744073709551616",
    ),
    (
        stack({"gpu": gpu(), "labels": {f"{LONG}/x": ""}}),
        f"{POOL}.labels.{LONG}/x: '{LONG}/x' is not a label's key: use a name such as nvidia.com/gpu.product",
    ),
    (
        stack({"gpu": gpu(), "capacity": {"example.com/x": "1Ei"}}),
        f"{POOL}: gives its nodes 1Ei of example.com/x; Kubernetes counts up to 9223372036854775: give fewer",
    ),
    (
        stack(
            {"gpu": gpu()},
            claims=[claim({"tolerations": [{"key": "a", "effect": "NoExecute", "tolerationSeconds": 2**64}]})],
        ),
        f"{REQUEST}.tolerations[0].tolerationSeconds: must be at most 9007199254740991, but is 18446744073709551616",
    ),
    (
        stack({"gpu": gpu()}, claims=[claim(constraints=[{"matchAttribute": MODEL, "requests": ALL_OF_FIVE}])]),
        f"{CLAIM}.constraints[0].requests: must have at most 32 entries, but has 40",
    ),
    (
        stack(
            {"gpu": gpu()}, claims=[claim({}, config=[{"driver": DRIVER, "parameters": {}, "requests": ["r0"] * 2}])]
        ),
        f"{CLAIM}.config[0].requests: lists 'r0' more than once: list each value once",
    ),
    (
        stack({"gpu": gpu()}, claims=[claim({}, config=[{"driver": DRIVER, "parameters": {"a": float("nan")}}])]),
        f"{CLAIM}.config[0]: has parameters with a number that JSON cannot represent: remove it",
    ),
    (
        selecting("device.driver.matches('(')"),
        f"{REQUEST}.selectors[0]: matches('(') fails: invalid regular expression: missing ): (",
    ),
    (
        selecting("duration('x') < duration('1h')"),
        f"{REQUEST}.selectors[0]: duration('x') fails: String to Duration conversion failed",
    ),
]


@pytest.mark.parametrize(("configuration", "expected"), FOUND_BY_PROPERTIES)
def test_what_the_api_server_would_reject(configuration: Configuration, expected: str) -> None:
    assert problems(configuration) == [expected]


@pytest.mark.parametrize(("configuration", "expected"), [*LIMITS, *MIG, *ADDRESSES, *VERSIONS, *SELECTORS, *CLAIMS])
def test_what_is_wrong(configuration: Configuration, expected: str) -> None:
    assert problems(configuration) == expected.split("\n")


def test_a_feature_that_a_version_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    newer = FEATURES["partitionable devices"]._replace(since=36)
    monkeypatch.setitem(FEATURES, "partitionable devices", newer)
    assert problems(stack({"gpu": parts()}, **version(35))) == [
        f"{POOL}: uses partitionable devices, which Kubernetes 1.35.0 does not have: "
        "set kwok-dra:cluster.kubeVersion to a release since 1.36, such as 1.37.2"
    ]


FILES = {
    "empty.yaml": "",
    "list.yaml": "- 1",
    "broken.yaml": "models: {a: [}",
    "date.yaml": "models: {a: 2026-13-01}",
    "section.yaml": "model: {}\nmodels: {}",
    "sections.yaml": "models: [1]",
    "binary.yaml": "\xff\xfe\xff",
    "driver.yaml": "models: {mine: {attributes: {}}}",
    "key.yaml": "models: {mine: {driver: gpu.example.com, attribute: {}}}",
    "host.yaml": "hosts: {mine: {slots: [], node: {label: {}}}}",
    "reference.yaml": "models: {mine: {driver: gpu.example.com, host: nowhere}}",
    "class.yaml": "drivers: {gpu.example.com: {deviceClasses: [{name: GPU}]}}",
    "right.yaml": "models: {mine: {driver: gpu.example.com}}",
}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["missing.yaml"], ["catalogue[0]: the file 'missing.yaml' cannot be read: No such file or directory"]),
        (["."], ["catalogue[0]: the file '.' cannot be read: Is a directory"]),
        (
            ["../right.yaml"],
            ["catalogue[0]: '../right.yaml' is outside the project's folder: move the file into it"],
        ),
        (
            ["/etc/hostname"],
            ["catalogue[0]: '/etc/hostname' is outside the project's folder: move the file into it"],
        ),
        (
            ["empty.yaml"],
            [
                "catalogue[0]: 'empty.yaml' has none of the keys hosts, models, drivers: "
                "see topology/catalogue for examples"
            ],
        ),
        (
            ["list.yaml"],
            [
                "catalogue[0]: 'list.yaml' has none of the keys hosts, models, drivers: "
                "see topology/catalogue for examples"
            ],
        ),
        (
            ["right.yaml", "broken.yaml"],
            [
                "catalogue[1]: 'broken.yaml' is not YAML: while parsing a flow node expected the node content, but "
                "found '}' in \"<byte string>\", line 1, column 14: models: {a: [} ^"
            ],
        ),
        (
            ["date.yaml"],
            ["catalogue[0]: 'date.yaml' has an invalid value: month must be in 1..12"],
        ),
        (["a\0b"], ["catalogue[0]: 'a\\x00b' is not the path of a file: embedded null byte"]),
        (
            ["section.yaml"],
            [
                "catalogue[0]: 'section.yaml' has an unknown key 'model'; did you mean 'models'? Use hosts, models, "
                "drivers, and keys that begin with x- for anchors"
            ],
        ),
        (
            ["sections.yaml"],
            ["catalogue[0]: 'sections.yaml': models: must be a mapping of keys to values, but is [1]"],
        ),
        (
            ["binary.yaml"],
            [
                "catalogue[0]: 'binary.yaml' is not YAML: unacceptable character #x00ff: truncated data in "
                '"<byte string>", position 2'
            ],
        ),
        (["driver.yaml"], ["catalogue[0]: 'driver.yaml': models.mine.driver: is required"]),
        (
            ["key.yaml"],
            [
                "catalogue[0]: 'key.yaml': models.mine.attribute: there is no such key; did you mean 'attributes'? "
                f"The keys here are {KEYS}"
            ],
        ),
        (
            ["host.yaml"],
            [
                "catalogue[0]: 'host.yaml': hosts.mine.slots: must have at least 1 entry, but has 0",
                "catalogue[0]: 'host.yaml': hosts.mine.node.label: there is no such key; did you mean 'labels'? "
                "The keys here are capacity, labels, taints",
            ],
        ),
        (
            ["reference.yaml"],
            [
                "catalogue[0]: 'reference.yaml': models.mine.host: there is no host 'nowhere' in the catalogue. "
                f"Name one of {HOSTS}, or define it inline: "
                "{slots: [{pcieRoot: …, numaNode: …, gpu: …, nic: …}]}"
            ],
        ),
        (
            ["class.yaml"],
            [
                "catalogue[0]: 'class.yaml': drivers.gpu.example.com.deviceClasses[0].name: 'GPU' is not a DNS "
                "subdomain: use at most 253 lower-case letters, digits, '-' and '.', such as gpu.example.com"
            ],
        ),
        (["right.yaml", 4], ["catalogue[1]: must be a string, but is 4"]),
        ("right.yaml", ["catalogue: must be a list, but is 'right.yaml'"]),
    ],
)
def test_files_of_the_catalogue(tmp_path: Path, names: Any, expected: list[str]) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    for name, content in FILES.items():
        (folder / name).write_text(content, encoding="latin-1")
    (tmp_path / "right.yaml").write_text("models: {}")
    assert problems(stack(catalogue=names), folder) == expected


def test_what_a_file_of_the_catalogue_adds(tmp_path: Path) -> None:
    """Models, hosts that they name, and classes of drivers, which may replace those of the program."""
    slot = {"pcieRoot": "pci0000:16", "numaNode": 1, "gpu": "0000:18:00.0", "nic": "0000:19:00.0"}
    model = gpu(host="mine", slot="gpu", attributes={"bus": {"string": "{pciBusID}"}})
    classes = [{"name": "shipped", "selectors": ["device.driver == 'gpu.example.com'"]}, {"name": "gpu"}]
    content = {
        "hosts": {"mine": {"slots": [slot]}},
        "models": {"mine": model, "kwok-l4": model},
        "drivers": {DRIVER: {"deviceClasses": classes}},
    }
    (tmp_path / "catalogue.yaml").write_text(json.dumps(content))
    configuration = stack({"gpu": "kwok-l4"}, {"gpu": "mine"}, claims=[claim({"deviceClass": "shipped"})])
    topology = load(configuration | {"catalogue": ["catalogue.yaml"]}, tmp_path)
    assert [pool.drivers for pool in topology.node_pools] == [[DRIVER], [DRIVER]]
    # The stack's own class overrides the shipped class of the same name.
    assert [(entry.name, len(entry.selectors)) for entry in topology.device_classes] == [("gpu", 1), ("shipped", 1)]


@pytest.mark.parametrize(
    "configuration",
    [
        stack({"gpu": shared(default="40Gi")}, claims=[claim({}, {})]),
        stack({"gpu": shared()}, claims=[claim({"capacity": {"memory": 40}}, {"capacity": {"memory": 40}})]),
        stack({"gpu": parts(9)}, claims=[claim({"count": 8})]),
        stack({"gpu": parts(), "devices": [{"model": parts(driver="nic.example.com")}]}),
        # Partitions without counters are ordinary devices.
        stack(
            {"gpu": gpu(partitions=[{"deviceName": "a"}]), "devices": [{"model": parts(driver="nic.example.com")}]},
            **version(36),
        ),
        stack({"gpu": MIG_GPU, "mig": [{"profiles": {"3g.40gb": 2}}, {"gpus": [], "profiles": {"7g.80gb": 1}}]}),
        stack({"gpu": gpu(attributes={"bus": {"string": "{pciBusID}"}}, slot="gpu"), "host": HOST}),
        stack({"gpu": gpu(attributes={"node": {"int": "{numaNode}"}})}),
        stack({"gpu": gpu()}, claims=[claim({}, constraints=[{"requests": ["r0"], "matchAttribute": MODEL}])]),
        stack({"gpu": gpu(), "gpusPerNode": 2}, claims=[claim({}, {}, constraints=[{"matchAttribute": MODEL}])]),
        stack({"gpu": gpu(), "labels": {"a": "b"}}, workloads=[job(nodeSelector={"a": "b"})]),
        stack({"gpu": gpu(), "taints": [{"key": "a"}]}, workloads=[job(tolerations=[{"operator": "Exists"}])]),
        stack({"gpu": gpu(), "taints": [{"key": "a", "effect": "PreferNoSchedule"}]}, claims=[claim({})]),
        selecting(f"device.driver == '{DRIVER}' && device.attributes['{DRIVER}'].model == 'Example'"),
        selecting(f"device.attributes['{DRIVER}'].?modell.orValue('Example') == 'Example'"),
        stack(**gates(34, DRAConsumableCapacity=True, NobodyKnowsThis=True)),
        stack(**version(36, resourceApi="v1beta2", kubeRuntimeConfig={"resource.k8s.io/v1beta1": False})),
    ],
)
def test_what_is_valid(configuration: Configuration) -> None:
    load(configuration)


LONG = "9" * 18
TOO_LONG = (
    "has the version {}; since Kubernetes 1.38 the API allows at most 18 digits per number of a version: "
    "make it shorter"
)
MANY = {f"c{number}": 1 for number in range(33)}
PENDING = {"allocated": 0, "pending": 1}


@pytest.mark.parametrize(
    ("configuration", "expected"),
    [
        (stack({"gpu": gpu(attributes={"v": {"version": f"{LONG}.{LONG}.{LONG}-{LONG}"[:64]}})}), None),
        (stack({"gpu": gpu(attributes={"v": {"version": f"1.2.3-a-{LONG}9.b+1.{LONG}9"}})}), None),
        (stack({"gpu": gpu(attributes={"v": {"string": f"1.2.{LONG}9"}})}), None),
        (
            stack({"gpu": gpu(attributes={"v": {"version": f"1.{LONG}9.0"}}), "gpusPerNode": 2}),
            f"{POOL}: device gpu-0: attributes.v {TOO_LONG.format(f'1.{LONG}9.0')}",
        ),
        (
            stack({"gpu": gpu(attributes={"v": {"version": f"1.0.0-a-b.{LONG}9"}})}),
            f"{POOL}: device gpu-0: attributes.v {TOO_LONG.format(f'1.0.0-a-b.{LONG}9')}",
        ),
        (
            stack({"gpu": gpu(attributes={"v": {"version": f"1.0.0-{LONG}9"}})}),
            f"{POOL}: device gpu-0: attributes.v {TOO_LONG.format(f'1.0.0-{LONG}9')}",
        ),
        (
            stack({"gpu": gpu(attributes={"v": {"versions": ["1.0.0", f"{LONG}9.0.0"]}})}),
            f"{POOL}: device gpu-0: attributes.v {TOO_LONG.format(f'{LONG}9.0.0')}",
        ),
        (
            stack({"gpu": shared()}, workloads=[job(claims=[claim({"capacity": MANY})], expect=PENDING)]),
            f"{REQUEST}.capacity: has 33 entries; since Kubernetes 1.38 the API allows at most 32 per request: remove "
            f"some",
        ),
        (
            stack({"gpu": shared()})
            | {
                "claims": [
                    {
                        "name": "shared",
                        "requests": [
                            {
                                "name": "r",
                                "firstAvailable": [
                                    {"name": "a", "deviceClass": "gpu"},
                                    {"name": "b", "deviceClass": "gpu", "capacity": MANY},
                                ],
                            }
                        ],
                    }
                ]
            },
            "claims[0].requests[0].firstAvailable[1].capacity: has 33 entries; since Kubernetes 1.38 the API allows "
            "at most 32 per request: remove some",
        ),
    ],
)
def test_what_kubernetes_1_38_rejects(configuration: Configuration, expected: str | None) -> None:
    load(configuration | version(37))
    if expected is None:
        load(configuration | version(38))
    else:
        assert problems(configuration | version(38)) == [expected]


def test_gates_and_apis_for_the_features_of_a_stack() -> None:
    devices = [{"model": nic(allowMultipleAllocations=True)}]
    cluster = load(stack({"gpu": parts(), "devices": devices}, **version(34))).cluster
    assert cluster.kube_feature_gates == {"DRAConsumableCapacity": True, "DRAPartitionableDevices": True}
    cluster = load(stack({"gpu": parts()}, **version(37, resourceApi="v1beta1"))).cluster
    assert (cluster.kube_feature_gates, cluster.kube_runtime_config) == ({}, {"resource.k8s.io/v1beta1": True})


@pytest.mark.parametrize(
    ("minor", "gate", "apis"),
    [
        (34, "DRADeviceTaints", {"resource.k8s.io/v1alpha3": True}),
        (35, "DRADeviceTaints", {}),
        (36, "DRADeviceTaintRules", {"resource.k8s.io/v1beta2": True}),
        (37, "DRADeviceTaintRules", {}),
        (36, "DRAResourcePoolStatus", {"resource.k8s.io/v1alpha3": True}),
    ],
)
def test_what_is_served_for_a_gate(minor: int, gate: str, apis: dict[str, bool]) -> None:
    """The scheduler would wait for the API indefinitely."""
    assert load(stack(**gates(minor, **{gate: True}))).cluster.kube_runtime_config == apis
    assert load(stack(**gates(minor, **{gate: False}))).cluster.kube_runtime_config == {}


@pytest.mark.parametrize("shared_parts", [True, False])
def test_partitions_that_claims_share_need_a_gate(shared_parts: bool) -> None:
    device = gpu(partitions=[{"deviceName": "part", "allowMultipleAllocations": shared_parts}])
    gates_set = load(stack({"gpu": device}, **version(35))).cluster.kube_feature_gates
    assert gates_set == ({"DRAConsumableCapacity": True} if shared_parts else {})


def test_kubernetes_checks_a_selector_that_the_program_cannot() -> None:
    load(selecting("url('https://example.com').getHost() == 'example.com'"))


def test_the_scheduler_decides_about_a_claim_that_is_too_hard(monkeypatch: pytest.MonkeyPatch) -> None:
    hard = stack({"gpu": shared(default="50Gi"), "gpusPerNode": 2}, claims=[claim({"count": 2}, {})])
    assert problems(hard)
    monkeypatch.setattr(allocation, "STEPS_MAX", 1)
    load(hard)


@pytest.mark.parametrize(
    ("fault", "runtime", "told"),
    [
        ({"nodes": [1], "notReady": True}, "binary", None),
        (
            {"nodes": [1, 2], "notReady": True},
            "binary",
            f"{POOL}.faults[0].nodes: there is no node 2: the pool has nodes 0 to 1",
        ),
        (
            {"notReady": True},
            "docker",
            f"{POOL}.faults[0].notReady: needs cluster.runtime: binary, but it is docker: set it to binary, or "
            "remove the fault",
        ),
        (
            {"devices": ["gpu-0"], "notReady": True},
            "binary",
            f"{POOL}.faults[0]: has devices, but notReady applies to whole nodes: remove devices",
        ),
        (
            {"driver": DRIVER, "notReady": True},
            "binary",
            f"{POOL}.faults[0]: has driver, but notReady applies to whole nodes: remove driver",
        ),
        (
            {"driver": "nic.example.com", "gone": True},
            "binary",
            f"{POOL}.faults[0].driver: the pool has no device of nic.example.com; its drivers: {DRIVER}",
        ),
        (
            {"gone": True, "notReady": True},
            "binary",
            f"{POOL}.faults[0]: must have exactly one of taint, such as {{key: example.com/broken}}, gone: true, "
            "attachFails: true and notReady: true",
        ),
        (
            {"attachFails": True},
            "binary",
            f"{POOL}.faults[0].attachFails: applies to devices with bindingConditions, but the pool has none: remove "
            "the fault",
        ),
    ],
)
def test_faults(fault: Configuration, runtime: str, told: str | None) -> None:
    asked = stack({"gpu": gpu(), "nodes": 2, "faults": [fault]}, cluster={"name": "x", "runtime": runtime})
    if told:
        assert problems(asked) == [told]
    else:
        load(asked)


def test_a_pool_without_nodes_has_no_faults() -> None:
    asked = stack({"gpu": gpu(), "nodes": 0, "faults": [{"nodes": [0], "gone": True}]}, workloads=[])
    assert problems(asked) == [f"{POOL}.faults[0].nodes: there is no node 0: the pool has no nodes"]


def test_pods_tolerate_what_admission_lets_every_pod_tolerate() -> None:
    def tainted(effect: str) -> Configuration:
        taint = {"key": "node.kubernetes.io/not-ready", "effect": effect}
        return stack({"gpu": gpu(), "taints": [taint]}, claims=[claim({})])

    load(tainted("NoExecute"))
    assert problems(tainted("NoSchedule")) == [f"workloads[0]: {NOWHERE}"]


def test_an_extended_resource_of_which_a_node_has_none_is_one_of_devices() -> None:
    """As in `filterExtendedResources` of the scheduler's plugin dynamicresources."""

    def asking(amount: int) -> Configuration:
        pool = {"gpu": gpu(), "capacity": {"example.com/gpu": amount}}
        containers = [{"name": "x", "resources": {"example.com/gpu": 2}}]
        classes = [{"name": "gpu", "extendedResourceName": "example.com/gpu"}]
        return stack(pool, deviceClasses=classes, workloads=[{"name": "job", "containers": containers}])

    load(asking(2))
    assert problems(asking(0)) == [
        "workloads[0].containers: wants 2 devices of class gpu, but no node of a has more than 1: ask for fewer, or "
        "give nodes more"
    ]


def test_one_suitable_node_is_enough() -> None:
    both = [{"gpu": nic(), "nodes": 9}, {"gpu": gpu(), "gpusPerNode": 2}]
    load(stack(*both, claims=[claim({}, {})]))
    assert problems(stack(*both, claims=[claim({}, {}, {})])) == [
        "workloads[0].claims: not even an empty node of a, b can satisfy them all at once: ask for less, or loosen "
        "selectors and constraints"
    ]


def test_all_problems_are_reported_at_once_in_the_order_of_the_keys() -> None:
    """Claims are checked only if devices are valid."""
    pools = [{"name": f"p{number}", "gpu": gpu()} for number in range(11)]
    pools[2]["mig"] = "dynamic"
    pools[10]["gpu"] = gpu(deviceName="GPU")
    pools[3]["gpu"] = gpu(capacity={"memory": 1, f"{DRIVER}/memory": 1}, sliceName="UP-{node}-{suffix}")
    selectors = [{"selectors": ["device."]}]
    cluster = gates(36, DRAWorkloadResourceClaims=True)
    wrong = stack(claims=[claim({"count": 9}, *selectors)], nodePools=pools, **cluster)
    assert [problem.partition(": ")[0] for problem in problems(wrong)] == [
        "cluster.kubeFeatureGates.DRAWorkloadResourceClaims",
        "nodePools[2].mig",
        "nodePools[3]",
        "nodePools[3]",
        "nodePools[10]",
    ]
    wrong = stack({"gpu": gpu()}, claims=[claim({"count": 9}, *selectors), claim(*selectors, name="more")])
    wrong["deviceClasses"] += [{"name": "other", "selectors": ["true", "1"]}]
    assert [problem.partition(": ")[0] for problem in problems(wrong)] == [
        "deviceClasses[1].selectors[1]",
        f"{CLAIM}.requests[1].selectors[0]",
        "workloads[0].claims[1].requests[0].selectors[0]",
    ]
    wrong = stack({"gpu": gpu()}, claims=[claim({"count": 9}, {}), claim({"count": 8}, name="more")])
    assert [problem.partition(": ")[0] for problem in problems(wrong)] == [
        REQUEST,
        "workloads[0].claims[1].requests[0]",
    ]
