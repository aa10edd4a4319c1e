"""What a cluster says about claims and pools, read from kubectl's JSON: written apart from the program, to compare."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

Object = dict[str, Any]
Device = tuple[str, str, str]
"""Driver, pool, name."""

RESULT_KEYS = ("request", "driver", "pool", "device", "adminAccess", "shareID", "consumedCapacity")


class Reader:
    """The pods, claims, nodes and slices of a cluster."""

    def __init__(self, objects: Iterable[Object]) -> None:
        """Sort the objects of `kubectl get --output json` by kind."""
        self.by_kind: dict[str, list[Object]] = {}
        for entry in objects:
            self.by_kind.setdefault(entry["kind"], []).append(entry)
        self.claim_objects = {
            (entry["metadata"]["namespace"], entry["metadata"]["name"]): entry
            for entry in self.by_kind.get("ResourceClaim", [])
        }

    def claims(self) -> list[Object]:
        """Return an entry for each claim of each pod that is to stay: whose it is, and its devices.

        Kueue suspends the Jobs that it holds: these have no pods yet.
        """
        pods = [pod for pod in self.by_kind.get("Pod", []) if not _is_going(pod) and pod["status"]["phase"] != "Failed"]
        entries = [self._claim(pod, name) for pod in pods for name in _claim_names(pod)]
        entries += [entry for job in self.by_kind.get("Job", []) for entry in _of_held(job)]
        return sorted(entries, key=lambda entry: [natural(entry[name]) for name in ("workload", "pod", "name")])

    def _claim(self, pod: Object, name: str) -> Object:
        metadata = pod["metadata"]
        claim = self.claim_objects.get((metadata["namespace"], name), {})
        done = pod["status"]["phase"] == "Succeeded"
        own = [entry["name"] for entry in pod["spec"].get("resourceClaims", []) if "resourceClaimName" not in entry]
        return {
            "name": "" if done and own else name,
            "namespace": metadata["namespace"],
            "workload": metadata["labels"]["app"],
            "pod": metadata["name"],
            "podPhase": pod["status"]["phase"],
            "node": pod["spec"].get("nodeName", ""),
            "state": "released" if done else _state(claim),
            "devices": [] if done else sorted((_device(result, claim) for result in _results(claim)), key=_place),
        }

    def counts(self) -> dict[str, dict[str, int]]:
        """Return how many claims of each workload are in which state."""
        counts: dict[str, dict[str, int]] = {}
        for claim in self.claims():
            states = counts.setdefault(claim["workload"], {})
            states[claim["state"]] = states.get(claim["state"], 0) + 1
        return counts

    def pools(self) -> list[Object]:
        """Return an entry for each group of nodes: how many nodes and devices, and how many of those claims hold.

        Devices that are not devices of one node are a group too, of the nodes that can use them.
        """
        held = {
            (result["driver"], result["pool"], result["device"])
            for claim in self.claim_objects.values()
            for result in _results(claim)
            if not result.get("adminAccess")
        }
        devices: dict[str, list[Device]] = {}
        nodes: dict[str, set[str]] = {}
        for node in self.by_kind.get("Node", []):
            nodes.setdefault(_group(node["metadata"]["name"]), set()).add(node["metadata"]["name"])
        for entry in self.by_kind.get("ResourceSlice", []):
            spec = entry["spec"]
            pool = spec["pool"]["name"]
            group = _group(spec["nodeName"]) if "nodeName" in spec else pool
            for device in spec.get("devices") or []:
                devices.setdefault(group, []).append((spec["driver"], pool, device["name"]))
                if "nodeName" not in spec:
                    using = self._using(device if spec.get("perDeviceNodeSelection") else spec)
                    nodes.setdefault(group, set()).update(using)
        return [
            {
                "name": group,
                "nodes": len(nodes[group]),
                "devices": len(devices.get(group, [])),
                "allocated": len(held.intersection(devices.get(group, []))),
            }
            for group in sorted(nodes, key=natural)
        ]

    def _using(self, spec: Object) -> list[str]:
        """Return the nodes that can use the devices of a slice, or one of its devices."""
        terms = spec.get("nodeSelector", {}).get("nodeSelectorTerms", [])
        wanted = {one["key"]: one["values"] for term in terms for one in term["matchExpressions"]}
        return [
            node["metadata"]["name"]
            for node in self.by_kind["Node"]
            if spec.get("nodeName") == node["metadata"]["name"]
            or spec.get("allNodes")
            or (wanted and all(node["metadata"]["labels"].get(key) in values for key, values in wanted.items()))
        ]

    def refusals(self) -> dict[str, str]:
        """Return why pods are pending, by their name, in the scheduler's words; those of held Jobs in Kueue's.

        A pod of a group may still be told so when it has its node: https://github.com/kubernetes/kubernetes/issues/139417
        """
        held = {
            entry["pod"]: condition["message"]
            for job in self.by_kind.get("Job", [])
            for entry in _of_held(job)
            for workload in self.by_kind["Workload"]
            if workload["metadata"]["ownerReferences"][0]["uid"] == job["metadata"]["uid"]
            for condition in workload["status"]["conditions"]
            if condition["type"] == "QuotaReserved"
        }
        return held | {
            pod["metadata"]["name"]: condition["message"]
            for pod in self.by_kind.get("Pod", [])
            for condition in pod["status"].get("conditions") or []
            if condition["type"] == "PodScheduled" and condition["status"] == "False" and "nodeName" not in pod["spec"]
        }


def _of_held(job: Object) -> Iterator[Object]:
    metadata, spec = job["metadata"], job["spec"]
    for number in range(spec["completions"] if spec.get("suspend") else 0):
        for _ in spec["template"]["spec"].get("resourceClaims") or []:
            yield {
                "name": "",
                "namespace": metadata["namespace"],
                "workload": metadata["name"],
                "pod": f"{metadata['name']}-{number}",
                "podPhase": "Suspended",
                "node": "",
                "state": "pending",
                "devices": [],
            }


def _group(node: str) -> str:
    """Return the name of a node without the number at its end."""
    return re.sub(r"-[0-9]+$", "", node)


def _claim_names(pod: Object) -> list[str]:
    """Return the ResourceClaims of a pod: named in its spec, made from templates, made for extended resources."""
    generated = {entry["name"]: entry for entry in pod["status"].get("resourceClaimStatuses") or []}
    names = []
    for entry in pod["spec"].get("resourceClaims") or []:
        source = entry if "resourceClaimName" in entry else generated.get(entry["name"], {})
        names.append(source.get("resourceClaimName") or "")
    asked = [key for container in pod["spec"]["containers"] for key in container["resources"].get("limits", {})]
    if any("/" in resource for resource in asked):
        names.append(pod["status"].get("extendedResourceClaimStatus", {}).get("resourceClaimName", ""))
    return names


def _results(claim: Object) -> list[Object]:
    results: list[Object] = claim.get("status", {}).get("allocation", {}).get("devices", {}).get("results", [])
    return results


def _device(result: Object, claim: Object) -> Object:
    found = {key: result[key] for key in RESULT_KEYS if key in result}
    conditions = {
        condition["type"]: condition["status"]
        for told in claim["status"].get("devices", [])
        if (told["driver"], told["pool"], told["device"]) == (result["driver"], result["pool"], result["device"])
        for condition in told["conditions"]
    }
    return found | ({"conditions": conditions} if conditions else {})


def _place(device: Object) -> list[list[str | int]]:
    names = (device["request"], device["driver"], device["pool"], device["device"], device.get("shareID", ""))
    return list(map(natural, names))


def natural(name: str) -> list[str | int]:
    """Return the name as a person sorts it: `gpu-2` before `gpu-10`."""
    return [int(part) if place % 2 else part for place, part in enumerate(re.split("([0-9]+)", name))]


def _state(claim: Object) -> str:
    status = claim.get("status", {})
    state = "deleted" if claim and _is_going(claim) else ""
    if "allocation" not in status:
        return state or "pending"
    return f"{state}{state and ','}allocated{',reserved' if status.get('reservedFor') else ''}"


def _is_going(entry: Object) -> bool:
    return "deletionTimestamp" in entry["metadata"]
