"""Converts the specs of claims to configuration."""

from collections.abc import Callable, Mapping

from topology.kubernetes.objects import IMPLICIT_EXTENDED_RESOURCE, given
from twin.claim_objects import Alternative, ClaimSpec, Config, Constraint, Request, Selection
from twin.configuration import Written
from twin.device_objects import Selector
from twin.placement import Pin
from twin.pod_objects import Toleration
from twin.pseudonyms import Names


class ClaimSpecs:
    """Converts the specs of claims, with the twin's names."""

    def __init__(self, names: Names, class_name: Callable[[str], str], expression: Callable[[str], str]) -> None:
        """Take the functions that return a class's name and a CEL expression in the twin."""
        self._names = names
        self._class_name = class_name
        self._expression = expression

    def spec(self, spec: ClaimSpec, pins: Mapping[str, Pin]) -> Written:
        """Return requests, constraints and, if names are kept, configuration for drivers, which can contain anything.

        `pins` give some of the requests, by name, their devices of the dump.
        """
        devices = spec.devices
        return {
            "requests": [self._request(request, pins.get(request.name, _FREE)) for request in devices.requests]
        } | given(
            constraints=[self._constraint(constraint) for constraint in devices.constraints],
            config=[self._config(config) for config in devices.config if config.opaque] if self._names.kept else [],
        )

    def request_name(self, name: str) -> str:
        """Return a request's name in the twin; `request/alternative` names an alternative."""
        request, slash, alternative = name.partition("/")
        return self._names.of("request", request) + (slash and slash + self._names.of("alternative", alternative))

    def resource_name(self, name: str) -> str:
        """Return the twin's name of a resource; classes have implicit extended resources."""
        prefix, _, device_class = name.partition("/")
        return f"{prefix}/{self._class_name(device_class)}" if prefix == IMPLICIT_EXTENDED_RESOURCE else name

    def _request(self, request: Request, pin: Pin) -> Written:
        name = {"name": self.request_name(request.name)}
        if request.exactly:
            return name | self._selection(request.exactly, pin) | given(adminAccess=request.exactly.admin_access)
        return name | {"firstAvailable": [self._alternative(one, pin) for one in request.first_available]}

    def _alternative(self, alternative: Alternative, pin: Pin) -> Written:
        return {"name": self._names.of("alternative", alternative.name)} | self._selection(alternative, pin)

    def _selection(self, selection: Selection, pin: Pin) -> Written:
        exact = selection.allocation_mode == "ExactCount"
        # The pin is first, so that the others are evaluated for its devices alone: they may fail for others.
        selectors = [*([pin.selector] if pin.selector else []), *expressions(selection.selectors)]
        return {"deviceClass": self._class_name(selection.device_class_name)} | given(
            allocationMode=None if exact else selection.allocation_mode,
            count=selection.count if exact and selection.count != 1 else None,
            selectors=[self._expression(text) for text in selectors],
            capacity=dict(selection.capacity.requests) if selection.capacity else None,
            tolerations=[toleration(one, self._names) for one in (*selection.tolerations, *pin.tolerations)],
            derivedAttributes=[
                {"name": one.get("name"), "expression": self._expression(one.get("expression", ""))}
                for one in selection.derived_attributes
            ],
        )

    def _constraint(self, constraint: Constraint) -> Written:
        return given(
            requests=[self.request_name(name) for name in constraint.requests],
            matchAttribute=constraint.match_attribute,
            distinctAttribute=constraint.distinct_attribute,
        )

    def _config(self, config: Config) -> Written:
        opaque = config.opaque.model_dump() if config.opaque else {}
        return given(requests=[self.request_name(name) for name in config.requests]) | opaque


_FREE = Pin(None, ())


def toleration(found: Toleration, names: Names) -> Written:
    """Return a toleration with the twin's key and value."""
    given_fields = found.model_dump(by_alias=True, exclude_none=True, exclude_defaults=True)
    return names.toleration({name: value for name, value in given_fields.items() if value != ""})


def expressions(selectors: list[Selector]) -> list[str]:
    """Return the CEL expressions of the selectors."""
    return [selector.cel.expression for selector in selectors if selector.cel]
