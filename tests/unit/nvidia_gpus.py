"""Figures of NVIDIA's GPUs, written out from public dumps and documents, each with its source; nodes with such GPUs."""

from typing import Any, NamedTuple

from topology.checks.validation import load
from topology.objects.slices import resource_slices
from topology.schema.stack import NodePool


class Gpu(NamedTuple):
    """The properties that differ between the models."""

    product: str
    architecture: str
    compute_capability: str
    memory: str
    per_node: int
    driver: str = "580.126.9"
    addressing_mode: str = "HMM"


GPUS = {
    # nvidia-smi: https://github.com/modal-labs/modal-client/pull/2797
    "t4": Gpu("Tesla T4", "Turing", "7.5.0", "15Gi", 8),
    "l40s": Gpu("NVIDIA L40S", "Ada Lovelace", "8.9.0", "46068Mi", 8),
    "a10": Gpu("NVIDIA A10", "Ampere", "8.6.0", "23028Mi", 4),
    "a100-80gb": Gpu("NVIDIA A100-SXM4-80GB", "Ampere", "8.0.0", "80Gi", 8),
    "h100": Gpu("NVIDIA H100 80GB HBM3", "Hopper", "9.0.0", "81559Mi", 8),
    # https://kwok.sigs.k8s.io/docs/examples/dra/
    "l4": Gpu("NVIDIA L4", "Ada Lovelace", "8.9.0", "23034Mi", 8),
    # https://github.com/kubernetes-sigs/dranet/blob/main/examples/aws_eks_examples/gpu-efa/resourceslice-gpu.yaml
    "a100-40gb": Gpu("NVIDIA A100-SXM4-40GB", "Ampere", "8.0.0", "40Gi", 8),
    # nvidia-smi; PCI id 10de:2335 of https://github.com/easydiffusion/torchruntime/issues/24
    "h200": Gpu("NVIDIA H200", "Hopper", "9.0.0", "143771Mi", 8),
    # nvidia-smi: https://github.com/NVIDIA/TensorRT-LLM/issues/10278
    "b200": Gpu("NVIDIA B200", "Blackwell", "10.0.0", "183359Mi", 8),
    # nvidia-smi; the name is in https://github.com/AlphaMine-Tech/alpha-miner/issues/21
    "b300": Gpu("NVIDIA B300 SXM6 AC", "Blackwell", "10.3.0", "275040Mi", 8),
    # .../dranet/blob/main/examples/oci_oke_examples/BM.GPU.GB200-v3.4/resourceslice-gpu.yaml
    "gb200": Gpu("NVIDIA GB200", "Blackwell", "10.0.0", "189471Mi", 4, "580.126.20", "ATS"),
    # https://github.com/thamada/nvidia-smi, gls/A40x10_smi.py and gls/H100NVLx2_smi.py
    "a40": Gpu("NVIDIA A40", "Ampere", "8.6.0", "46068Mi", 4),
    "h100-nvl": Gpu("NVIDIA H100 NVL", "Hopper", "9.0.0", "95830Mi", 2),
    # .../dranet/blob/main/examples/azure_aks_examples/gb300/resourceslice-gpu.yaml
    "gb300": Gpu("NVIDIA GB300", "Blackwell", "10.3.0", "284208Mi", 4, "580.105.8", "ATS"),
    # https://github.com/bigstack-oss/cubecos/issues/312
    "rtx-pro-6000": Gpu("NVIDIA RTX PRO 6000 Blackwell Server Edition", "Blackwell", "12.0.0", "97887Mi", 8),
    # The name: .../dra-driver-nvidia-gpu/blob/main/site/content/docs/reference/resourceslice-attributes.md
    "a100-pcie-40gb": Gpu("NVIDIA A100-PCIE-40GB", "Ampere", "8.0.0", "40Gi", 4),
    # nvidia-smi in public reports. Compute capabilities, the V100's too: https://developer.nvidia.com/cuda-gpus
    "a100-pcie-80gb": Gpu("NVIDIA A100 80GB PCIe", "Ampere", "8.0.0", "80Gi", 4),
    "a30": Gpu("NVIDIA A30", "Ampere", "8.0.0", "24Gi", 4),
    "l20": Gpu("NVIDIA L20", "Ada Lovelace", "8.9.0", "46068Mi", 8),
    "l40": Gpu("NVIDIA L40", "Ada Lovelace", "8.9.0", "46068Mi", 8),
    "h20": Gpu("NVIDIA H20", "Hopper", "9.0.0", "97871Mi", 8),
    "h100-pcie": Gpu("NVIDIA H100 PCIe", "Hopper", "9.0.0", "81559Mi", 2),
    "gh200-96gb": Gpu("NVIDIA GH200 480GB", "Hopper", "9.0.0", "97871Mi", 1, addressing_mode="ATS"),
    "gh200-144gb": Gpu("NVIDIA GH200 144G HBM3e", "Hopper", "9.0.0", "146831Mi", 2, addressing_mode="ATS"),
    "v100-16gb": Gpu("Tesla V100-SXM2-16GB", "Volta", "7.0.0", "16Gi", 8),
    "v100-32gb": Gpu("Tesla V100-SXM2-32GB", "Volta", "7.0.0", "32Gi", 8),
}


class Profile(NamedTuple):
    """A row of `nvidia-smi mig -lgip`, and the placements of -lgipp."""

    label: str
    memory: str
    multiprocessors: int
    copy_engines: int
    decoders: int
    jpeg_engines: int
    ofa_engines: int
    size: int
    placements: tuple[int, ...]
    encoders: int = 0


EACH = (0, 1, 2, 3, 4, 5, 6)
PAIRS = (0, 2, 4, 6)

# By the driver's name of the profile in device names, which end in the profile ID, in the order of these names.
# Placements: https://github.com/kubernetes/enhancements/tree/master/keps/sig-scheduling/4815-dra-partitionable-devices
PROFILES: dict[str, dict[str, Profile]] = {
    # https://docs.nvidia.com/datacenter/tesla/mig-user-guide/supported-mig-profiles.html; 19968Mi, for one:
    # https://github.com/XuehaiPan/nvitop/pull/8
    "a100-40gb": {
        "1g10gb-15": Profile("1g.10gb", "9856Mi", 14, 1, 1, 0, 0, 2, PAIRS),
        "1g5gb-19": Profile("1g.5gb", "4864Mi", 14, 1, 0, 0, 0, 1, EACH),
        "1g5gb-me-20": Profile("1g.5gb+me", "4864Mi", 14, 1, 1, 1, 1, 1, EACH),
        "2g10gb-14": Profile("2g.10gb", "9856Mi", 28, 2, 1, 0, 0, 2, (0, 2, 4)),
        "3g20gb-9": Profile("3g.20gb", "19968Mi", 42, 3, 2, 0, 0, 4, (0, 4)),
        "4g20gb-5": Profile("4g.20gb", "19968Mi", 56, 4, 2, 0, 0, 4, (0,)),
        "7g40gb-0": Profile("7g.40gb", "40192Mi", 98, 7, 5, 1, 1, 8, (0,)),
    },
    "a100-80gb": {
        "1g10gb-19": Profile("1g.10gb", "9728Mi", 14, 1, 0, 0, 0, 1, EACH),
        "1g10gb-me-20": Profile("1g.10gb+me", "9728Mi", 14, 1, 1, 1, 1, 1, EACH),
        "1g20gb-15": Profile("1g.20gb", "19968Mi", 14, 1, 1, 0, 0, 2, PAIRS),
        "2g20gb-14": Profile("2g.20gb", "19968Mi", 28, 2, 1, 0, 0, 2, (0, 2, 4)),
        "3g40gb-9": Profile("3g.40gb", "40192Mi", 42, 3, 2, 0, 0, 4, (0, 4)),
        "4g40gb-5": Profile("4g.40gb", "40192Mi", 56, 4, 2, 0, 0, 4, (0,)),
        "7g80gb-0": Profile("7g.80gb", "79Gi", 98, 7, 5, 1, 1, 8, (0,)),
    },
    # https://jbarrow.ai/field_notes/nvidia-mig/; 9.75, 19.62, 39.50 and 79.25 GiB
    "h100": {
        "1g10gb-19": Profile("1g.10gb", "9984Mi", 16, 1, 1, 1, 0, 1, EACH),
        "1g10gb-me-20": Profile("1g.10gb+me", "9984Mi", 16, 1, 1, 1, 1, 1, EACH),
        "1g20gb-15": Profile("1g.20gb", "20096Mi", 26, 1, 1, 1, 0, 2, PAIRS),
        "2g20gb-14": Profile("2g.20gb", "20096Mi", 32, 2, 2, 2, 0, 2, (0, 2, 4)),
        "3g40gb-9": Profile("3g.40gb", "40448Mi", 60, 3, 3, 3, 0, 4, (0, 4)),
        "4g40gb-5": Profile("4g.40gb", "40448Mi", 64, 4, 4, 4, 0, 4, (0,)),
        "7g80gb-0": Profile("7g.80gb", "81152Mi", 132, 8, 7, 7, 1, 8, (0,)),
    },
    # https://github.com/NVIDIA/mig-parted/issues/120; 16.00, 32.25, 69.50 and 139.75 GiB
    "h200": {
        "1g18gb-19": Profile("1g.18gb", "16Gi", 16, 1, 1, 1, 0, 1, EACH),
        "1g18gb-me-20": Profile("1g.18gb+me", "16Gi", 16, 1, 1, 1, 1, 1, EACH),
        "1g35gb-15": Profile("1g.35gb", "33024Mi", 26, 1, 1, 1, 0, 2, PAIRS),
        "2g35gb-14": Profile("2g.35gb", "33024Mi", 32, 2, 2, 2, 0, 2, (0, 2, 4)),
        "3g71gb-9": Profile("3g.71gb", "71168Mi", 60, 3, 3, 3, 0, 4, (0, 4)),
        "4g71gb-5": Profile("4g.71gb", "71168Mi", 64, 4, 4, 4, 0, 4, (0,)),
        "7g141gb-0": Profile("7g.141gb", "143104Mi", 132, 8, 7, 7, 1, 8, (0,)),
    },
    # https://github.com/NVIDIA/gpu-operator/pull/1351, 20.50 and 44.25 GiB. From 3g on only names and copy engines are
    # published; the others are those of the catalogue, which explains them.
    "b200": {
        "1g23gb-19": Profile("1g.23gb", "20992Mi", 18, 2, 1, 1, 0, 1, EACH),
        "1g23gb-me-20": Profile("1g.23gb+me", "20992Mi", 18, 2, 1, 1, 1, 1, EACH),
        "1g45gb-15": Profile("1g.45gb", "45312Mi", 30, 2, 1, 1, 0, 2, PAIRS),
        "2g45gb-14": Profile("2g.45gb", "45312Mi", 36, 4, 2, 2, 0, 2, (0, 2, 4)),
        "3g90gb-9": Profile("3g.90gb", "89Gi", 68, 6, 3, 3, 0, 4, (0, 4)),
        "4g90gb-5": Profile("4g.90gb", "89Gi", 72, 8, 4, 4, 0, 4, (0,)),
        "7g180gb-0": Profile("7g.180gb", "182528Mi", 148, 16, 7, 7, 1, 8, (0,)),
    },
    # https://github.com/aws/sagemaker-hyperpod-cli/pull/403: the names; everything else is from the catalogue.
    "b300": {
        "1g34gb-19": Profile("1g.34gb", "32Gi", 18, 2, 1, 1, 0, 1, EACH),
        "1g34gb-me-20": Profile("1g.34gb+me", "32Gi", 18, 2, 1, 1, 1, 1, EACH),
        "1g67gb-15": Profile("1g.67gb", "67840Mi", 30, 2, 1, 1, 0, 2, PAIRS),
        "2g67gb-14": Profile("2g.67gb", "67840Mi", 36, 4, 2, 2, 0, 2, (0, 2, 4)),
        "3g135gb-9": Profile("3g.135gb", "136960Mi", 68, 6, 3, 3, 0, 4, (0, 4)),
        "4g135gb-5": Profile("4g.135gb", "136960Mi", 72, 8, 4, 4, 0, 4, (0,)),
        "7g269gb-0": Profile("7g.269gb", "274176Mi", 148, 16, 7, 7, 1, 8, (0,)),
    },
    # https://github.com/NVIDIA/mig-parted/issues/227, 22.00 and 45.50 GiB; from 3g on as for the B200
    "gb200": {
        "1g23gb-19": Profile("1g.23gb", "22Gi", 18, 2, 1, 1, 0, 1, EACH),
        "1g23gb-me-20": Profile("1g.23gb+me", "22Gi", 18, 2, 1, 1, 1, 1, EACH),
        "1g47gb-15": Profile("1g.47gb", "46592Mi", 32, 2, 1, 1, 0, 2, PAIRS),
        "2g47gb-14": Profile("2g.47gb", "46592Mi", 38, 4, 2, 2, 0, 2, (0, 2, 4)),
        "3g93gb-9": Profile("3g.93gb", "92Gi", 72, 6, 3, 3, 0, 4, (0, 4)),
        "4g93gb-5": Profile("4g.93gb", "92Gi", 76, 8, 4, 4, 0, 4, (0,)),
        "7g186gb-0": Profile("7g.186gb", "188672Mi", 152, 16, 7, 7, 1, 8, (0,)),
    },
}


def identity(label: str) -> int:
    """Return the profile ID of nvidia-smi, with which the name of a profile in device names ends."""
    return int(label.rpartition("-")[2])


def resized(model: str, *rows: tuple[str, str, str, int | None]) -> dict[str, Profile]:
    """Return the profiles of a GPU whose engines are those of `model`: the name in device names and that of a profile,
    the memory, and the multiprocessors if they differ."""
    found = {}
    for label, name, memory, multiprocessors in rows:
        (like,) = (profile for other, profile in PROFILES[model].items() if identity(other) == identity(label))
        own = like.multiprocessors if multiprocessors is None else multiprocessors
        found[label] = like._replace(label=name, memory=memory, multiprocessors=own)
    return found


PROFILES["a100-pcie-40gb"] = PROFILES["a100-40gb"]
PROFILES["a100-pcie-80gb"] = PROFILES["a100-80gb"]
# nvidia-smi mig -lgip in public reports; 7g.80gb: https://github.com/kubernetes-sigs/dra-driver-nvidia-gpu/pull/1018
PROFILES["h100-pcie"] = resized(
    "h100",
    ("1g10gb-19", "1g.10gb", "9984Mi", 14),
    ("1g10gb-me-20", "1g.10gb+me", "9984Mi", 14),
    ("1g20gb-15", "1g.20gb", "20096Mi", 14),
    ("2g20gb-14", "2g.20gb", "20096Mi", 30),
    ("3g40gb-9", "3g.40gb", "40448Mi", 46),
    ("4g40gb-5", "4g.40gb", "40448Mi", 62),
    ("7g80gb-0", "7g.80gb", "81152Mi", 114),
)
# https://github.com/NVIDIA/mig-parted/pull/101: 10.75, 21.62 and 46.38 GiB; 93.12 in public reports
PROFILES["h100-nvl"] = resized(
    "h100",
    ("1g12gb-19", "1g.12gb", "11008Mi", None),
    ("1g12gb-me-20", "1g.12gb+me", "11008Mi", None),
    ("1g24gb-15", "1g.24gb", "22144Mi", None),
    ("2g24gb-14", "2g.24gb", "22144Mi", None),
    ("3g47gb-9", "3g.47gb", "47488Mi", None),
    ("4g47gb-5", "4g.47gb", "47488Mi", None),
    ("7g94gb-0", "7g.94gb", "95360Mi", None),
)
# nvidia-smi mig -lgip in public reports: 11.00, 23.00, 46.50 and 93.00 GiB
PROFILES["gh200-96gb"] = resized(
    "h100",
    ("1g12gb-19", "1g.12gb", "11Gi", None),
    ("1g12gb-me-20", "1g.12gb+me", "11Gi", None),
    ("1g24gb-15", "1g.24gb", "23Gi", None),
    ("2g24gb-14", "2g.24gb", "23Gi", None),
    ("3g48gb-9", "3g.48gb", "47616Mi", None),
    ("4g48gb-5", "4g.48gb", "47616Mi", None),
    ("7g96gb-0", "7g.96gb", "93Gi", None),
)
# The names: https://github.com/NVIDIA/mig-parted/blob/main/deployments/systemd/config-default.yaml; the rest is from
# the catalogue.
PROFILES["h20"] = resized(
    "gh200-96gb",
    ("1g12gb-19", "1g.12gb", "11Gi", 8),
    ("1g12gb-me-20", "1g.12gb+me", "11Gi", 8),
    ("1g24gb-15", "1g.24gb", "23Gi", 16),
    ("2g24gb-14", "2g.24gb", "23Gi", 18),
    ("3g48gb-9", "3g.48gb", "47616Mi", 36),
    ("4g48gb-5", "4g.48gb", "47616Mi", 40),
    ("7g96gb-0", "7g.96gb", "93Gi", 78),
)
# https://github.com/NVIDIA/mig-parted/pull/139: 17.50 and 35.25 GiB; from 3g on the memory is from the catalogue
PROFILES["gh200-144gb"] = resized(
    "h100",
    ("1g18gb-19", "1g.18gb", "17920Mi", None),
    ("1g18gb-me-20", "1g.18gb+me", "17920Mi", None),
    ("1g36gb-15", "1g.36gb", "36096Mi", None),
    ("2g36gb-14", "2g.36gb", "36096Mi", None),
    ("3g72gb-9", "3g.72gb", "71Gi", None),
    ("4g72gb-5", "4g.72gb", "71Gi", None),
    ("7g144gb-0", "7g.144gb", "145920Mi", None),
)
# The names as for the H20; the rest is from the catalogue.
PROFILES["gb300"] = resized(
    "gb200",
    ("1g35gb-19", "1g.35gb", "33Gi", None),
    ("1g35gb-me-20", "1g.35gb+me", "33Gi", None),
    ("1g70gb-15", "1g.70gb", "70080Mi", None),
    ("2g70gb-14", "2g.70gb", "70080Mi", None),
    ("3g139gb-9", "3g.139gb", "141568Mi", None),
    ("4g139gb-5", "4g.139gb", "141568Mi", None),
    ("7g278gb-0", "7g.278gb", "283392Mi", None),
)
# nvidia-smi mig -lgip and -lgipp in public reports: 5.81, 11.69 and 23.44 GiB; four memory slices
PROFILES["a30"] = {
    "1g6gb-14": Profile("1g.6gb", "5952Mi", 14, 1, 1, 0, 0, 1, (0, 1, 2, 3)),
    "1g6gb-me-21": Profile("1g.6gb+me", "5952Mi", 14, 1, 1, 1, 1, 1, (0, 1, 2, 3)),
    "2g12gb-5": Profile("2g.12gb", "11968Mi", 28, 2, 2, 0, 0, 2, (0, 2)),
    "2g12gb-me-6": Profile("2g.12gb+me", "11968Mi", 28, 2, 2, 1, 1, 2, (0, 2)),
    "4g24gb-0": Profile("4g.24gb", "24000Mi", 56, 4, 4, 1, 1, 4, (0,)),
}
# https://github.com/GoogleCloudPlatform/container-engine-accelerators/pull/564: 23.62, 47.38 and 95.00 GiB; -lgipp in
# public reports: twelve memory slices
FOURTHS, HALVES = (0, 3, 6, 9), (0, 6)
PROFILES["rtx-pro-6000"] = {
    "1g24gb-14": Profile("1g.24gb", "24192Mi", 46, 1, 1, 1, 0, 3, FOURTHS, 1),
    "1g24gb-gfx-47": Profile("1g.24gb+gfx", "24192Mi", 46, 1, 1, 1, 0, 3, FOURTHS, 1),
    "1g24gb-me-21": Profile("1g.24gb+me", "24192Mi", 46, 1, 1, 1, 1, 3, FOURTHS, 1),
    "1g24gb-me-67": Profile("1g.24gb-me", "24192Mi", 46, 1, 0, 0, 0, 3, FOURTHS, 0),
    "1g24gb-meall-65": Profile("1g.24gb+me.all", "24192Mi", 46, 1, 4, 4, 1, 3, FOURTHS, 4),
    "2g48gb-5": Profile("2g.48gb", "48512Mi", 94, 2, 2, 2, 0, 6, HALVES, 2),
    "2g48gb-gfx-35": Profile("2g.48gb+gfx", "48512Mi", 94, 2, 2, 2, 0, 6, HALVES, 2),
    "2g48gb-me-66": Profile("2g.48gb-me", "48512Mi", 94, 2, 0, 0, 0, 6, HALVES, 0),
    "2g48gb-meall-64": Profile("2g.48gb+me.all", "48512Mi", 94, 2, 4, 4, 1, 6, HALVES, 4),
    "4g96gb-0": Profile("4g.96gb", "95Gi", 188, 4, 4, 4, 1, 12, (0,), 4),
    "4g96gb-gfx-32": Profile("4g.96gb+gfx", "95Gi", 188, 4, 4, 4, 1, 12, (0,), 4),
}
# Instances Free/Total of nvidia-smi mig -lgip, by profile ID.
INSTANCES = {model: {19: 7, 20: 1, 15: 4, 14: 3, 9: 2, 5: 1, 0: 1} for model in PROFILES} | {
    "a30": {14: 4, 21: 1, 5: 2, 6: 1, 0: 1},
    "rtx-pro-6000": {14: 4, 21: 1, 47: 4, 65: 1, 67: 4, 5: 2, 35: 2, 64: 1, 66: 2, 0: 1, 32: 1},
}

# https://github.com/NVIDIA/k8s-device-plugin/tree/main/docs/gpu-feature-discovery: the names, and "-" for spaces;
# the family by compute capability: internal/lm/resource.go. CPU and memory: https://aws.amazon.com/ec2/instance-types/
# (g4dn.metal, g6.48xlarge, g6e.48xlarge, p4d.24xlarge, p4de.24xlarge, p5.48xlarge, p5en.48xlarge, p6-b200.48xlarge,
# p6-b300.48xlarge, p6e-gb200.36xlarge); for the A10
# https://docs.oracle.com/en-us/iaas/Content/Compute/References/computeshapes.htm#bm-gpu (BM.GPU.A10.4)
NODES = {
    "t4": ("Tesla-T4", "turing", "15360", ("7", "5"), "96", "384Gi"),
    "l4": ("NVIDIA-L4", "ada-lovelace", "23034", ("8", "9"), "192", "768Gi"),
    "l40s": ("NVIDIA-L40S", "ada-lovelace", "46068", ("8", "9"), "192", "1536Gi"),
    "a10": ("NVIDIA-A10", "ampere", "23028", ("8", "6"), "128", "1Ti"),
    "a100-40gb": ("NVIDIA-A100-SXM4-40GB", "ampere", "40960", ("8", "0"), "96", "1152Gi"),
    "a100-80gb": ("NVIDIA-A100-SXM4-80GB", "ampere", "81920", ("8", "0"), "96", "1152Gi"),
    "h100": ("NVIDIA-H100-80GB-HBM3", "hopper", "81559", ("9", "0"), "192", "2Ti"),
    "h200": ("NVIDIA-H200", "hopper", "143771", ("9", "0"), "192", "2Ti"),
    "b200": ("NVIDIA-B200", "blackwell", "183359", ("10", "0"), "192", "2Ti"),
    "b300": ("NVIDIA-B300-SXM6-AC", "blackwell", "275040", ("10", "3"), "192", "4Ti"),
    "gb200": ("NVIDIA-GB200", "blackwell", "189471", ("10", "0"), "144", "960Gi"),
    # https://aws.amazon.com/ec2/instance-types/p3/, p3.16xlarge and p3dn.24xlarge
    "v100-16gb": ("Tesla-V100-SXM2-16GB", "volta", "16384", ("7", "0"), "64", "488Gi"),
    "v100-32gb": ("Tesla-V100-SXM2-32GB", "volta", "32768", ("7", "0"), "96", "768Gi"),
    # https://learn.microsoft.com/en-us/azure/virtual-machines/sizes/gpu-accelerated/: NC96ads_A100_v4, NC80adis_H100_v5
    # and ND128isr_GB300_v6
    "a100-pcie-40gb": ("NVIDIA-A100-PCIE-40GB", "ampere", "40960", ("8", "0"), "96", "880Gi"),
    "a100-pcie-80gb": ("NVIDIA-A100-80GB-PCIe", "ampere", "81920", ("8", "0"), "96", "880Gi"),
    "h100-nvl": ("NVIDIA-H100-NVL", "hopper", "95830", ("9", "0"), "80", "640Gi"),
    "gb300": ("NVIDIA-GB300", "blackwell", "284208", ("10", "3"), "128", "900Gi"),
    # https://www.scaleway.com/en/docs/gpu/reference-content/choosing-gpu-instance-type/, H100-2-80G
    "h100-pcie": ("NVIDIA-H100-PCIe", "hopper", "81559", ("9", "0"), "48", "480G"),
    # https://docs.cloud.google.com/compute/docs/gpus, g4-standard-384
    "rtx-pro-6000": (
        "NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition",
        "blackwell",
        "97887",
        ("12", "0"),
        "384",
        "1440Gi",
    ),
    # https://www.nvidia.com/en-us/data-center/grace-hopper-superchip/
    "gh200-96gb": ("NVIDIA-GH200-480GB", "hopper", "97871", ("9", "0"), "72", "480Gi"),
    "gh200-144gb": ("NVIDIA-GH200-144G-HBM3e", "hopper", "146831", ("9", "0"), "144", "960Gi"),
    # As of other models.
    "a30": ("NVIDIA-A30", "ampere", "24576", ("8", "0"), "128", "1Ti"),
    "a40": ("NVIDIA-A40", "ampere", "46068", ("8", "6"), "128", "1Ti"),
    "l20": ("NVIDIA-L20", "ada-lovelace", "46068", ("8", "9"), "128", "1Ti"),
    "l40": ("NVIDIA-L40", "ada-lovelace", "46068", ("8", "9"), "128", "1Ti"),
    "h20": ("NVIDIA-H20", "hopper", "97871", ("9", "0"), "192", "2Ti"),
}
DRIVERS = {"gb200": ("126", "20"), "gb300": ("105", "08")}
"""Minor and revision of the GPU driver of the slices; of all others 126 and 09."""
ARM = ("gb200", "gb300", "gh200-96gb", "gh200-144gb")
AMPERE = ("a30", "a100-40gb", "a100-80gb", "a100-pcie-40gb", "a100-pcie-80gb")
"""GPUs that cannot leave MIG mode without a reset:
https://github.com/kubernetes-sigs/dra-driver-nvidia-gpu/blob/main/cmd/gpu-kubelet-plugin/nvlib.go,
`supportsMIGModeToggle`."""


def pool(model: object, **more: object) -> NodePool:
    """Return a pool of one node with a model of the catalogue or an inline one."""
    gpu = GPUS.get(model.partition("@")[0]) if isinstance(model, str) else None
    node_pool = {"name": "n", "nodes": 1, "gpu": model, "gpusPerNode": gpu.per_node if gpu else 1, **more}
    return load({"cluster": {"name": "c"}, "nodePools": [node_pool]}).node_pools[0]


def slices(model: object, **more: object) -> list[dict[str, Any]]:
    """Return what the ResourceSlices of such a node have below `spec`."""
    return [entry["spec"] for entry in resource_slices(pool(model, **more), "n-0")]


def devices(model: object, **more: object) -> list[dict[str, Any]]:
    """Return the devices of such a node."""
    return [device for spec in slices(model, **more) for device in spec.get("devices", [])]
