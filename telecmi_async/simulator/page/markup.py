"""HTML that data cannot break out of: a str becomes text, or an attribute's value, and no more.

Names of elements and attributes are literals of this package, which type checkers hold; what
is no `Html` is escaped. So there is no template that a value could be put into unescaped.
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Final, LiteralString, TypeAlias

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Child", "Html", "joined", "tag"]

_VOID: Final = frozenset({"input", "link", "meta"})


@frozen
class Html:
    """Markup that `tag` made."""

    markup: str


#: What an element can hold. ``None`` is left out.
Child: TypeAlias = Html | str | int | None


def tag(
    name: LiteralString,
    /,
    *children: Child,
    classes: str | None = None,
    **attributes: str | int | bool | None,
) -> Html:
    """Return an element.

    Args:
        name: Its name.
        children: What is in it. What is no `Html` is text.
        classes: Its classes.
        attributes: Its attributes: ``for_`` is ``for``, ``aria_label`` is ``aria-label``. True stands for one without a
            value; what is ``None`` or False is left out.
    """
    named = {"class": classes} | {
        key.rstrip("_").replace("_", "-"): value for key, value in attributes.items()
    }
    said = "".join(
        f" {key}" if value is True else f' {key}="{html.escape(str(value))}"'
        for key, value in named.items()
        if value is not None and value is not False
    )
    if name in _VOID:
        return Html(f"<{name}{said}>")
    return Html(f"<{name}{said}>{joined(children).markup}</{name}>")


def joined(children: Iterable[Child]) -> Html:
    """Return several things, one after the other."""
    return Html("".join(_markup(child) for child in children))


def _markup(child: Child) -> str:
    if isinstance(child, Html):
        return child.markup
    return "" if child is None else html.escape(str(child))
