"""Names in the configuration that stand for entries of the catalogue."""

from pydantic import BeforeValidator, ValidationInfo

from topology.values import problem, suggestion


def named(section: str, what: str, example: str) -> BeforeValidator:
    """Make the validator that puts the entry of the catalogue's `section` in the place of its name.

    The catalogue is the validation's context. A mapping is left as it is: `what`, written out in place.
    """

    def look_up(value: object, info: ValidationInfo) -> object:
        if not isinstance(value, str):
            if isinstance(value, dict):
                return value
            raise problem(f"has to be the name of a {what} or one written out in place, but is {value!r}")
        entries = (info.context or {}).get(section, {})
        if value not in entries:
            raise problem(
                f"there is no {what} {value!r} in the catalogue{suggestion(value, entries)} "
                f"Name one of {', '.join(sorted(entries))}, or write it out in place: {example}"
            )
        return entries[value]

    return BeforeValidator(look_up)
