"""Elements of the simulator's page, and its words: times, and the user's own data, masked."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from telecmi_async._internal.html import tag
from telecmi_async._internal.messages import mask_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from telecmi_async._internal.html import Child, Html
    from telecmi_async.simulator.webhooks import Delivery

_LONGEST: Final = 60
_MINUTE: Final = 60
_HOUR: Final = 3_600


def named(value: object) -> str:
    """Return a name that a user chose: short, printable, with phone numbers masked."""
    text = mask_in(str(value)[: 2 * _LONGEST])  # before it is cut, so that no half is left
    if len(text) > _LONGEST:
        text = text[:_LONGEST] + "…"
    return printable(text).replace("\n", "\ufffd")


def printable(text: str) -> str:
    """Return a text with a sign in place of each letter that does not print, except line ends.

    Such a letter could turn the line around, and a lone surrogate is no UTF-8.
    """
    return "".join(
        letter if letter.isprintable() or letter == "\n" else "\ufffd" for letter in text
    )


def span(seconds: float) -> str:
    """Return a time that passes, such as ``3 min 05 s``."""
    whole = max(0, int(seconds))
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE:02} s"
    return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE:02} min"


def elapsed(seconds: float) -> str:
    """Return a time on the simulator's clock, such as ``0:12:31``."""
    whole = int(seconds)
    return f"{whole // _HOUR}:{whole % _HOUR // _MINUTE:02}:{whole % _MINUTE:02}"


def since(seconds: float) -> str:
    """Return how long after a call was accepted something happened, such as ``+4.2 s``."""
    if seconds < _MINUTE:
        return f"+{seconds:.1f} s"
    return f"+{int(seconds // _MINUTE)}:{seconds % _MINUTE:04.1f}"


def delivery_id(delivery: Delivery) -> str:
    """Return a delivery's id on the page, from which nothing about it can be read."""
    name = f"{delivery.call.request_id} {delivery.key}"
    return blake2b(name.encode(errors="replace"), digest_size=8).hexdigest()


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
