"""Elements of the simulator's page, made of those of `telecmi_async._internal.html`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from telecmi_async._internal.html import tag

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from telecmi_async._internal.html import Child, Html


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


def fact_list(pairs: Iterable[tuple[str, Child]]) -> Html:
    """Return facts, each with its name."""
    found = [tag("div", tag("dt", name), tag("dd", fact)) for name, fact in pairs]
    return tag("dl", *found, classes="facts")
