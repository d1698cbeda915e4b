"""HTML elements that data cannot break out of: a str becomes text or an attribute's value.

Names of elements and attributes are literals of this package, which type checkers hold, and
everything but `Html` is escaped. So there is no template that a value could get into unescaped.
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Final, LiteralString, TypeAlias

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

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
    """Return an element with its children, of which everything but `Html` is text.

    Of the attributes, ``for_`` is ``for``, and ``aria_label`` is ``aria-label``. True stands
    for one without a value; ``None`` and False are left out.
    """
    named = {"class": classes} | {
        key.rstrip("_").replace("_", "-"): value for key, value in attributes.items()
    }
    written = "".join(
        f" {key}" if value is True else f' {key}="{html.escape(str(value))}"'
        for key, value in named.items()
        if value is not None and value is not False
    )
    if name in _VOID:
        return Html(f"<{name}{written}>")
    return Html(f"<{name}{written}>{joined(*children).markup}</{name}>")


def joined(*children: Child) -> Html:
    """Return several elements, one after the other."""
    return Html("".join(map(_markup, children)))


def _markup(child: Child) -> str:
    if isinstance(child, Html):
        return child.markup
    return "" if child is None else html.escape(str(child))


def section(heading: str, *children: Child, beside: Child = None) -> Html:
    """Return a part of a page under its heading, with something to the right of that."""
    head = tag("h2", heading)
    return tag("section", tag("div", head, beside, classes="head"), *children)


def chip(tone: str, label: str) -> Html:
    """Return a state in words, and in a colour: ``good``, ``bad``, ``busy``, or ``""``."""
    return tag("span", label, classes=f"chip {tone}")


def html_row(
    *cells: Child | tuple[Child, str], mark: str | None = None, classes: str | None = None
) -> Html:
    """Return a table's row with an id. A cell is its content, or that and its classes."""
    pairs = [cell if isinstance(cell, tuple) else (cell, None) for cell in cells]
    made = [tag("td", child, classes=kind) for child, kind in pairs]
    return tag("tr", *made, classes=classes, id=mark)


def html_table(
    caption: str,
    columns: Sequence[str],
    rows: Iterable[Html],
    *,
    empty: Child = None,
    classes: str | None = None,
) -> Html:
    """Return a table, or the text ``empty`` in its place if it has no rows.

    The caption is for screen readers. A column of buttons has the head ``""``.
    """
    body = list(rows)
    if not body:
        return tag("p", empty, classes="empty")
    heads = [
        tag("th", name or tag("span", "Actions", classes="unseen"), scope="col")
        for name in columns
    ]
    whole = tag(
        "table",
        tag("caption", caption, classes="unseen"),
        tag("thead", tag("tr", *heads)),
        tag("tbody", *body),
        classes=classes,
    )
    # A scrolling region must be reachable by keyboard, too.
    return tag("div", whole, classes="scroll", role="region", aria_label=caption, tabindex=0)


def facts(pairs: Iterable[tuple[str, Child]]) -> Html:
    """Return facts, each with its name."""
    found = [tag("div", tag("dt", name), tag("dd", fact)) for name, fact in pairs]
    return tag("dl", *found, classes="facts")
