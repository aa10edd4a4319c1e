"""What releases of DRANET publish of NICs, and the NICs of Azure: figures of dumps and source, written out."""

import pytest

from tests.unit.published import devices, names, typed, values

# https://github.com/kubernetes-sigs/dranet: pkg/inventory/db.go at v1.0.1, v1.4.0 and on main
STANDARD = "resource.kubernetes.io"


@pytest.mark.parametrize(
    ("model", "product"),
    [
        # https://pci-ids.ucw.cz/read/PC/15b3
        ("connectx-6", "MT28908 Family [ConnectX-6]"),
        ("connectx-7", "MT2910 Family [ConnectX-7]"),
        ("connectx-8", "CX8 Family [ConnectX-8]"),
    ],
)
@pytest.mark.parametrize(
    ("profile", "missing"),
    [("@1.4", {f"{STANDARD}/numaNode"}), ("@1.0", {f"{STANDARD}/numaNode", "dra.net/rdmaDevice"})],
)
def test_older_releases(model: str, product: str, profile: str, missing: set[str]) -> None:
    (newest,), (older,) = (
        devices("dra.net", host="hgx-h100", devices=[{"model": name}]) for name in (model, model + profile)
    )
    assert newest["attributes"].keys() - older["attributes"].keys() == missing
    assert older["attributes"].items() <= newest["attributes"].items()
    assert values(newest, "dra.net/pciDevice") == product


def test_nics_of_azure_s_gb300() -> None:
    # examples/azure_aks_examples/gb300/resourceslice-dranet.yaml
    found = devices("dra.net", gpu="gb300", gpusPerNode=4, devices=[{"model": "connectx-8-vf-azure", "count": 4}])
    assert names(found) == [f"pci-010{index}-00-00-0" for index in (1, 2, 3, 4)]
    assert found[2]["attributes"] == typed(
        string={
            "azure.dra.net/placementGroupId": "c6c749e8-a38b-470e-8c94-2a7d00001bf0",
            "azure.dra.net/vmSize": "Standard_ND128isr_GB300_v6",
            "dra.net/pciAddress": "0103:00:00.0",
            "dra.net/pciDevice": "ConnectX Family mlx5Gen Virtual Function",
            "dra.net/pciSubsystem": "0240",
            "dra.net/pciVendor": "Mellanox Technologies",
            "dra.net/rdmaDevice": "mlx5_2",
        },
        int={"dra.net/numaNode": 1},
        bool={"dra.net/rdma": True},
    )


def test_nics_of_azure_s_h100() -> None:
    pool = {"gpu": "h100", "gpusPerNode": 8, "host": "azure-nd96isr-h100-v5"}
    profile = {"model": "connectx-7-vf-azure@nd96isr-h100-v5", "count": 8}
    found = devices("dra.net", **pool, devices=[profile])
    # https://github.com/Azure/azhpc-images/blob/master/topology/ndv5-topo.xml
    assert [(values(nic, "dra.net/pciAddress"), values(nic, "dra.net/numaNode")) for nic in found] == [
        (f"010{index}:00:00.0", int(index > 4)) for index in range(1, 9)
    ]
    assert values(found[0], "azure.dra.net/vmSize") == "Standard_ND96isr_H100_v5"
    of_mi300x = devices("dra.net", **pool, devices=[{"model": "connectx-7-vf-azure"}])[0]["attributes"]
    differs = {name for name, value in of_mi300x.items() if found[0]["attributes"].get(name) != value}
    assert differs == {"azure.dra.net/vmSize"}
