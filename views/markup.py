"""HTML that escapes all other text."""

from collections.abc import Iterable
from html import escape


class Html(str):
    """Text that is HTML already, which `join` and `element` do not escape."""

    __slots__ = ()


def join(parts: Iterable[str]) -> Html:
    """Join parts, each escaped unless it is HTML."""
    return Html("".join(part if isinstance(part, Html) else escape(part) for part in parts))


def element(name: str, *content: str, **attributes: object) -> Html:
    """Return an element; the attribute `class_` becomes `class`, and one whose value is None or False is omitted."""
    given = "".join(
        f" {key.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{escape(str(value))}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    return Html(f"<{name}{given}>{join(content)}</{name}>")
