"""Which values of a dump its twin replaces, and that equal values stay equal, and different ones different."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.unit.real_slices import Object, amounts, dump, node, resource_slice, texts, uuid
from tests.unit.test_twin_round_trip import configured
from topology.objects.slices import resource_slices
from twin.stack import Stack, stack
from twin.writing import write

DRIVER = "gpu.example.org"
Values = Sequence[Mapping[str, str]]
"""The texts of each device of a node."""


class Twin:
    """The twin of nodes whose devices have some texts."""

    def __init__(self, folder: Path, nodes: Mapping[str, Values], *others: Object, **options: Any) -> None:
        objects = [one for name, values in nodes.items() for one in (node(name), self._slice(name, values))]
        self.stack: Stack = stack(dump(folder, *objects, *others), **options)
        files = write(self.stack, "twin", folder, options.get("keep_names", False))
        self.text = "".join((folder / file).read_text() for file in files)
        self.pools = self.stack.configuration["nodePools"]
        topology = configured(folder, "twin")
        made = {name: pool for pool in topology.node_pools for name in pool.node_names()}
        self._slices = {name: resource_slices(made[new], new) for name, new in self.stack.nodes.items()}

    @staticmethod
    def _slice(name: str, values: Values) -> Object:
        devices = [{"name": f"gpu-{index}", "attributes": texts(**own)} for index, own in enumerate(values)]
        return resource_slice(name, DRIVER, devices)

    def values(self, name: str) -> list[dict[str, Any]]:
        """Return the texts of each device in the twin of a node."""
        return [
            {key: value["string"] for key, value in device["attributes"].items()}
            for entry in self._slices[name]
            for device in entry["spec"]["devices"]
        ]

    def column(self, attribute: str) -> list[str]:
        """Return an attribute of all devices, node after node."""
        return [values[attribute] for name in self._slices for values in self.values(name)]


def pattern(values: Sequence[str]) -> list[int]:
    """Return a list that is equal for sequences in which the same places are equal."""
    return [values.index(value) for value in values]


def columns(nodes: Mapping[str, Values], attribute: str) -> list[str]:
    return [own[attribute] for values in nodes.values() for own in values]


def claim(expression: str, name: str = "c") -> Object:
    request = {
        "name": "gpu",
        "exactly": {"deviceClassName": DRIVER, "selectors": [{"cel": {"expression": expression}}]},
    }
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaim",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"devices": {"requests": [request]}},
    }


def pod(claim_name: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"p-{claim_name}", "namespace": "default"},
        "spec": {
            "containers": [{"name": "main"}],
            "resourceClaims": [{"name": "gpu", "resourceClaimName": claim_name}],
        },
        "status": {"phase": "Pending"},
    }


DEVICE_CLASS = {
    "apiVersion": "resource.k8s.io/v1",
    "kind": "DeviceClass",
    "metadata": {"name": DRIVER},
    "spec": {"selectors": [{"cel": {"expression": f"device.driver == '{DRIVER}'"}}]},
}


def rewritten(twin: Twin) -> list[str]:
    """Return the CEL expressions of the twin's claims."""
    claims = [
        one
        for key in ("claims", "workloads")
        for entry in twin.stack.configuration.get(key, [])
        for one in ([entry] if key == "claims" else entry.get("claims", []))
    ]
    return [text for one in claims for request in one.get("requests", []) for text in request.get("selectors", [])]


# Which values are replaced.

IDENTITIES = [
    # Serial numbers, whatever their attribute is called.
    ("sid", ["CR13A133082941K", "CR13A265179896K"]),
    ("sid", ["00001A07F3C2E91", "00001A17F3C2E91"]),
    ("uuid", ["TPXS300002100600", "TPXS300002100601"]),
    ("serialNumber", ["s12", "s13"]),
    ("board", ["1321021036861", "1321021036862"]),
    ("unit", ["a088c2100141", "a088c2100142"]),
    ("card", ["1321021036861", "1321021036861", "1321021036862", "1321021036862"]),
    # Addresses.
    ("address", ["a0:88:c2:10:01:41", "a0:88:c2:10:02:42"]),
    ("ipv4", ["10.224.0.10/16", "10.224.0.11/16"]),
    ("hostIP", ["198.18.0.7", "198.18.0.7"]),
    ("gid", ["fe80::a288:c2ff:fe10:141", "fe80::a288:c2ff:fe10:142"]),
    ("port", ["b8ce:f603:00f2:a5e4", "b8ce:f603:00f2:a5e5"]),
    ("target", ["10.0.0.7:4420", "10.0.0.8:4420"]),
    ("endpoint", ["http://10.0.0.7:8080/metrics"] * 2),
    ("guid0", ["0xb8cef60300f2a5e4"] * 2),
    ("port", ["0xb8cef60300f2a5e4"] * 2),
    # Racks, blocks, network nodes and groups.
    ("rackId", ["rack-17", "rack-17"]),
    ("hpcIslandId", ["afc67f1576b95aaabad91c82d76d56afa8a3725aad6f5ee4b35"] * 2),
    ("networkNodeLayer1", ["nn-2804bad6fe94a50a1"] * 2),
    ("devicegroup4_id", ["307e835152d349c0", "340f4faee5fe65e8"]),
    ("placementGroup", ["pg-7", "pg-7"]),
]


@pytest.mark.parametrize(("name", "values"), IDENTITIES)
def test_identities_are_replaced(tmp_path: Path, name: str, values: list[str]) -> None:
    twin = Twin(tmp_path, {"n-a": [{name: value} for value in values]})
    assert not any(value in twin.text for value in values)
    assert pattern(twin.column(name)) == pattern(values)
    (pool,) = twin.pools
    assert (pool["gpusPerNode"], "devices" in pool) == (len(values), False)


PUBLIC = [
    ("neuronDriverVersion", ["2.26.5.0"] * 2),
    ("firmware", ["10.2.0.1"] * 2),
    ("vbiosVersion", ["96.00.74.00.1C"] * 2),
    ("driverSrcVersion", ["A27BF33B4586326D747C9FB"] * 2),
    ("runtime", ["2.26.5.0"] * 2),
    ("sdk", ["release-2.26.5.0"] * 2),
    ("productName", ["NVIDIA A100-SXM4-80GB"] * 2),
    ("instanceType", ["trn2.48xlarge"] * 2),
    ("pciDeviceID", ["1330"] * 2),
    ("vendorID", ["0x10de"] * 2),
    ("pciLinkWidth", ["16"] * 2),
    ("faultDomain", ["FAULT-DOMAIN-1"] * 2),
    ("availabilityDomain", ["TrcQ:US-ASHBURN-AD-2"] * 2),
    ("pfPciAddress", ["0000:08:00.0"] * 2),
    ("ifName", ["enp129s0f1np1", "enp129s0f1np2"]),
    ("partNumber", ["900-2G133-0000-000"] * 2),
    ("profile", ["1g.6gb+me"] * 2),
    ("architecture", [""] * 2),
]


@pytest.mark.parametrize(("name", "values"), PUBLIC)
def test_everything_else_stays(tmp_path: Path, name: str, values: list[str]) -> None:
    twin = Twin(tmp_path, {"n-a": [{name: value} for value in values]})
    assert twin.column(name) == values


def test_what_differs_on_all_devices_of_two_nodes_is_an_identity(tmp_path: Path) -> None:
    nodes = {name: [{"tray": f"K{number}-{place}"} for place in (41, 17)] for number, name in enumerate(["n-a", "n-b"])}
    twin = Twin(tmp_path, nodes)
    assert len(twin.pools) == 1
    assert len(set(twin.column("tray"))) == 4
    assert not set(twin.column("tray")) & set(columns(nodes, "tray"))


def test_products_that_differ_on_all_devices_stay(tmp_path: Path) -> None:
    products = [["A100-40", "H100-80"], ["L40-48", "B200-180"]]
    nodes = {f"n-{index}": [{"productName": product} for product in some] for index, some in enumerate(products)}
    assert Twin(tmp_path, nodes).column("productName") == [product for some in products for product in some]


def test_names_of_nodes_are_replaced(tmp_path: Path) -> None:
    nodes = {
        "gpu-7.corp": [{"host": "gpu-7.corp", "short": "gpu-7", "peer": "gpu-8.corp"}],
        "gpu-8.corp": [{"host": "gpu-8.corp", "short": "gpu-8", "peer": "gpu-7.corp"}],
    }
    twin = Twin(tmp_path, nodes)
    assert "gpu-7" not in twin.text and "gpu-8" not in twin.text
    assert twin.column("host") == list(twin.stack.nodes.values())
    assert len({*twin.column("short"), *twin.column("host")}) == 4


def test_lists_of_texts_are_texts(tmp_path: Path) -> None:
    slices = resource_slice(
        "n-a",
        DRIVER,
        [
            {"name": f"nic-{index}", "attributes": {"macs": {"strings": [f"a0:88:c2:10:01:4{index}", "none"]}}}
            for index in range(2)
        ],
    )
    found = stack(dump(tmp_path, node("n-a"), slices))
    (written,) = found.catalogue["models"].values()
    assert written["attributes"]["macs"] == {"strings": ["{mac}", "none"]}


# Equal values stay equal, and different ones different.


def both(nodes: int, devices: int, *attributes: str, of: Any) -> dict[str, list[dict[str, str]]]:
    return {
        f"n-{number}": [{name: of(name, number, device) for name in attributes} for device in range(devices)]
        for number in range(nodes)
    }


SCOPES = {
    "device": lambda name, node, device: uuid(name, node, device),
    "pairs": lambda name, node, device: uuid(name, node, device // 2),
    "odd": lambda name, node, device: uuid(name, node, "abba"[device]),
    "node": lambda name, node, device: uuid(name, node),
    "two nodes": lambda name, node, device: uuid(name, node // 2),
    "devices of two nodes": lambda name, node, device: uuid(name, node // 2, device),
    "all": lambda name, node, device: uuid(name),
    "one for both attributes": lambda name, node, device: uuid(node, device),
}


@pytest.mark.parametrize("scope", SCOPES)
def test_equal_values_stay_equal(tmp_path: Path, scope: str) -> None:
    nodes = both(4, 4, "groupUuid", "boardUuid", of=SCOPES[scope])
    twin = Twin(tmp_path, nodes)
    assert twin.stack.notes == []
    before = columns(nodes, "groupUuid") + columns(nodes, "boardUuid")
    assert pattern(twin.column("groupUuid") + twin.column("boardUuid")) == pattern(before)
    assert not any(value in twin.text for value in before)


@pytest.mark.parametrize(("scope", "pools"), [("device", 1), ("pairs", 1), ("node", 1), ("two nodes", 2), ("all", 1)])
def test_only_values_of_several_nodes_part_them(tmp_path: Path, scope: str, pools: int) -> None:
    assert len(Twin(tmp_path, both(4, 4, "groupUuid", of=SCOPES[scope])).pools) == pools


@pytest.mark.parametrize("boards", ["01-01", "012-12", "0123-3", "012-345", "0011-1"])
def test_values_of_two_drivers_stay_equal(tmp_path: Path, boards: str) -> None:
    gpus, nics = ([{"boardSerial": f"SN{board}00000000"} for board in of_driver] for of_driver in boards.split("-"))
    devices = [{"name": f"nic-{index}", "attributes": texts(**own)} for index, own in enumerate(nics)]
    twin = Twin(tmp_path, {"n-a": gpus}, resource_slice("n-a", "nic.example.org", devices))
    assert pattern(twin.column("boardSerial")) == pattern([one["boardSerial"] for one in [*gpus, *nics]])
    assert "SN0" not in twin.text


def test_two_identities_of_a_device_stay_two(tmp_path: Path) -> None:
    values = [{"uuid": uuid(index), "serial": f"SN{index}", "mac": f"a0:88:c2:10:01:4{index}"} for index in range(3)]
    twin = Twin(tmp_path, {"n-a": [own | {"boardUuid": uuid("board", own["serial"])} for own in values]})
    (written,) = twin.stack.catalogue["models"].values()
    assert {name: value["string"] for name, value in written["attributes"].items()} == {
        "uuid": "{uuid}",
        "serial": "{hex}",
        "mac": "{mac}",
        "boardUuid": "{uuid}-2",
    }


# CEL expressions.


def test_expressions_name_counterparts_of_one_node(tmp_path: Path) -> None:
    """Two nodes of four have the value that the expression names."""
    nodes = both(4, 2, "groupUuid", of=SCOPES["two nodes"])
    expression = f'device.attributes["{DRIVER}"].groupUuid == "{uuid("groupUuid", 1)}"'
    twin = Twin(tmp_path, nodes, DEVICE_CLASS, claim(expression), pod("c"))
    (selector,) = rewritten(twin)
    named = selector.split('"')[-2]
    assert [values[0]["groupUuid"] == named for values in map(twin.values, nodes)] == [False, False, True, True]


@pytest.mark.parametrize("keep_names", [False, True])
def test_expressions_with_values_that_no_device_has(tmp_path: Path, keep_names: bool) -> None:
    """They name no device in the twin either, and do not tell the value."""
    nodes = both(2, 2, "uuid", of=SCOPES["device"])
    absent = [uuid("absent"), f"GPU-{uuid('absent')}", "SN000000123456789", "trn9.48xlarge"]
    expression = f"device.attributes['{DRIVER}'].uuid in ['{absent[0]}', '{absent[1]}', '{absent[2]}', '{absent[3]}']"
    twin = Twin(tmp_path, nodes, DEVICE_CLASS, claim(expression), pod("c"), keep_names=keep_names)
    (selector,) = rewritten(twin)
    assert not any(value in twin.text for value in absent[:3])
    named = selector.split("[")[-1]
    assert "'trn9.48xlarge'" in named
    assert "GPU-" in named
    assert not any(value in named for value in twin.column("uuid"))


def test_expressions_name_counterparts_of_the_newest_generation(tmp_path: Path) -> None:
    """A slice that is left behind has the value on another device."""
    ids = [uuid(index) for index in range(2)]
    left = resource_slice(
        "n-a", DRIVER, [{"name": f"gpu-{1 - index}", "attributes": texts(uuid=ids[index])} for index in (0, 1)]
    )
    left["metadata"]["name"] += "-left"
    left["spec"]["pool"]["generation"] -= 1
    expression = f"device.attributes['{DRIVER}'].uuid == '{ids[1]}'"
    twin = Twin(tmp_path, {"n-a": [{"uuid": one} for one in ids]}, left, DEVICE_CLASS, claim(expression), pod("c"))
    (selector,) = rewritten(twin)
    assert selector == f"device.attributes['{DRIVER}'].uuid == '{twin.values('n-a')[1]['uuid']}'"


def test_expressions_with_a_part_of_a_value(tmp_path: Path) -> None:
    nodes = {"n-a": [{"uuid": f"GPU-{uuid(index)}"} for index in range(2)]}
    expression = f"device.attributes['{DRIVER}'].uuid.endsWith('{uuid(1)}')"
    twin = Twin(tmp_path, nodes, DEVICE_CLASS, claim(expression), pod("c"))
    (selector,) = rewritten(twin)
    assert twin.column("uuid")[1].endswith(selector.split("'")[-2])
    assert "CEL expressions that examine parts of replaced values can select other devices" in twin.stack.notes


# Names of devices.


def test_names_of_devices_that_are_taken(tmp_path: Path) -> None:
    devices = [{"name": name, "attributes": texts(x="y")} for name in ("gpu-0", f"gpu-{uuid(1)}", f"gpu-{uuid(2)}")]
    (written,) = stack(dump(tmp_path, node("n-a"), resource_slice("n-a", DRIVER, devices))).catalogue["models"].values()
    assert written["deviceName"] == "gpu-{index}"


@pytest.mark.parametrize("form", ["gpu-{uuid}", "{node}-gpu-{index}", "mac-a088c210014{index}", "nic-{hex}-vf{index}"])
def test_names_of_devices(tmp_path: Path, form: str) -> None:
    """They become numbers, in the order of places, so that similar nodes stay similar."""
    nodes = ("node-7", "node-8")
    objects: list[Object] = [DEVICE_CLASS]
    for name in nodes:
        devices: list[Object] = [
            {
                "name": form.format(node=name, index=index, uuid=uuid(name, index), hex=uuid(name)[-12:]),
                "attributes": {"resource.kubernetes.io/pciBusID": {"string": f"0000:{index + 17}:00.0"}},
            }
            for index in range(3)
        ]
        objects += [node(name), resource_slice(name, DRIVER, sorted(devices, key=str))]
    held = objects[-1]["spec"]["devices"][0]["name"]
    asked = claim(f"device.driver == '{DRIVER}'")
    result = {"request": "gpu", "driver": DRIVER, "pool": "node-8", "device": held}
    asked["status"] = {"allocation": {"devices": {"results": [result]}}}
    taint = {"key": "example.com/x", "effect": "NoSchedule"}
    rule = {
        "apiVersion": "resource.k8s.io/v1beta2",
        "kind": "DeviceTaintRule",
        "metadata": {"name": "r"},
        "spec": {"deviceSelector": {"driver": DRIVER, "pool": "node-8", "device": held}, "taint": taint},
    }
    found = stack(dump(tmp_path, *objects, asked, rule))
    (pool,) = found.configuration["nodePools"]
    assert pool["nodes"] == 2
    (written,) = found.catalogue["models"].values()
    assert "{index" in written["deviceName"]
    (made,) = found.configuration["deviceTaintRules"]
    assert re.fullmatch(r"[a-z]*-?[0-9](-[a-z]+[0-9-]+)?", made["device"])
    assert found.configuration["workloads"][0]["claims"]
    text = str(found.configuration) + str(found.catalogue)
    assert held not in text and "node-8" not in text


@pytest.mark.parametrize("form", ["{}", "radio-{}", "radio-{}-rx"])
def test_serial_numbers_in_names(tmp_path: Path, form: str) -> None:
    """They may be short, so that only the attribute tells what they are, and names have no large letters."""
    objects: list[Object] = []
    for name, number in (("n-a", "44F47C"), ("n-b", "4A076")):
        device = {"name": form.format(number.lower()), "attributes": texts(serial=number, model="x310")}
        objects += [node(name), resource_slice(name, DRIVER, [device])]
    found = stack(dump(tmp_path, *objects))
    assert [pool["nodes"] for pool in found.configuration["nodePools"]] == [2]
    (written,) = found.catalogue["models"].values()
    assert written["deviceName"] == form.format("0")


def test_words_in_names_that_are_no_serial_numbers(tmp_path: Path) -> None:
    device = {"name": "gpu-7-x310", "attributes": texts(serial="7", model="x310")}
    found = stack(dump(tmp_path, node("n-a"), resource_slice("n-a", DRIVER, [device])))
    (written,) = found.catalogue["models"].values()
    assert written["deviceName"] == "gpu-7-x310"


@pytest.mark.parametrize("nodes", [["gpu-0"], ["gpu-0", "gpu-1"]])
def test_nodes_that_are_called_as_devices(tmp_path: Path, nodes: Sequence[str]) -> None:
    devices = [{"name": "gpu-0", "attributes": texts(x="y")}]
    objects = [one for name in nodes for one in (node(name), resource_slice(name, DRIVER, devices))]
    (written,) = stack(dump(tmp_path, *objects)).catalogue["models"].values()
    assert written["deviceName"] == "gpu-0"


def test_names_of_counter_sets(tmp_path: Path) -> None:
    devices: list[Object] = [
        {
            "name": f"gpu-{uuid(index)}-{part}",
            "attributes": {"resource.kubernetes.io/pciBusID": {"string": f"0000:{index + 17}:00.0"}},
            "consumesCounters": [{"counterSet": f"gpu-{uuid(index)}", "counters": amounts(memory="1Gi")}],
        }
        for index in range(2)
        for part in ("a", "b")
    ]
    sets = [{"name": f"gpu-{uuid(index)}", "counters": amounts(memory="2Gi")} for index in range(2)]
    found = stack(dump(tmp_path, node("n-a"), resource_slice("n-a", DRIVER, devices, sharedCounters=sets)))
    (written,) = found.catalogue["models"].values()
    assert written["counterSet"] == "gpu-{index}"
    assert [part["deviceName"] for part in written["partitions"]] == ["gpu-{index}-a", "gpu-{index}-b"]
