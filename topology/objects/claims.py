"""DeviceClasses, ResourceClaims and ResourceClaimTemplates, in version v1 of resource.k8s.io."""

from topology.kubernetes.objects import RESOURCE_API_VERSION, Manifest, given, selectors
from topology.schema.claims import (
    Claim,
    ClaimSpec,
    DeviceConstraint,
    DeviceRequest,
    DeviceSelection,
    DeviceSubRequest,
    OpaqueConfig,
    SharedClaim,
)
from topology.schema.devices import DeviceClass
from topology.schema.workloads import Workload


def device_class(configuration: DeviceClass) -> Manifest:
    """Render a DeviceClass."""
    return {
        "apiVersion": RESOURCE_API_VERSION,
        "kind": "DeviceClass",
        "metadata": {"name": configuration.name},
        "spec": {"selectors": selectors(configuration.selectors)}
        | given(extendedResourceName=configuration.extended_resource_name),
    }


def resource_claim(claim: SharedClaim) -> Manifest:
    """Render a shared ResourceClaim."""
    return {
        "apiVersion": RESOURCE_API_VERSION,
        "kind": "ResourceClaim",
        "metadata": {"name": claim.name, "namespace": claim.namespace},
        "spec": _spec(claim),
    }


def resource_claim_template(workload: Workload, claim: Claim) -> Manifest:
    """Render the ResourceClaimTemplate of a `claim` that each pod of `workload` has."""
    return {
        "apiVersion": RESOURCE_API_VERSION,
        "kind": "ResourceClaimTemplate",
        "metadata": {"name": workload.template_name(claim), "namespace": workload.namespace},
        "spec": {"spec": _spec(claim)},
    }


def _spec(claim: ClaimSpec) -> Manifest:
    devices = given(
        requests=[_request(request) for request in claim.requests],
        constraints=[_constraint(constraint) for constraint in claim.constraints],
        config=[opaque_config(config) for config in claim.config],
    )
    return {"devices": devices}


def _request(request: DeviceRequest) -> Manifest:
    if request.first_available:
        return {"name": request.name, "firstAvailable": [_alternative(one) for one in request.first_available]}
    admin_access = given(adminAccess=request.admin_access)
    return {"name": request.name, "exactly": _selection(request, request.device_class) | admin_access}


def _alternative(request: DeviceSubRequest) -> Manifest:
    return {"name": request.name} | _selection(request, request.device_class)


def _selection(selection: DeviceSelection, device_class: str | None) -> Manifest:
    return {
        "deviceClassName": device_class,
        "allocationMode": selection.allocation_mode,
    } | given(
        count=selection.count if selection.allocation_mode == "ExactCount" else None,
        selectors=selectors(selection.selectors),
        capacity=given(requests=selection.capacity),
        tolerations=[toleration.model_dump(by_alias=True, exclude_none=True) for toleration in selection.tolerations],
        derivedAttributes=[attribute.model_dump() for attribute in selection.derived_attributes],
    )


def _constraint(constraint: DeviceConstraint) -> Manifest:
    return given(
        requests=constraint.requests,
        matchAttribute=constraint.match_attribute,
        distinctAttribute=constraint.distinct_attribute,
    )


def opaque_config(config: OpaqueConfig) -> Manifest:
    """Render the parameters for a driver."""
    return given(requests=config.requests) | {"opaque": {"driver": config.driver, "parameters": config.parameters}}
