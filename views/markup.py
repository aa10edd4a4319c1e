"""HTML that escapes whatever is not HTML already."""

from collections.abc import Iterable
from html import escape


class Html(str):
    """Text that is HTML; all other text is escaped where it meets some."""

    __slots__ = ()


def join(parts: Iterable[str]) -> Html:
    """Put parts together, each escaped unless it is HTML."""
    return Html("".join(part if isinstance(part, Html) else escape(part) for part in parts))


def element(name: str, *content: str, **attributes: object) -> Html:
    """Return an element; an attribute `class_` is called `class`, and one of value None or False is left out."""
    given = "".join(
        f" {key.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{escape(str(value))}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    return Html(f"<{name}{given}>{join(content)}</{name}>")
