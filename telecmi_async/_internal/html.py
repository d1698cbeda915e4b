"""HTML that data cannot break out of, and how notebooks show values with it.

Names of elements and attributes are literals of this package, which type checkers hold, and
everything but `Html` is escaped. What a notebook shows has no script, no style sheet and
nothing from elsewhere. Its colours are readable on light and dark pages. Its text is short and
printable, and phone numbers are masked, since a notebook keeps what it shows in its file.
"""

from __future__ import annotations

import html
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, LiteralString, TypeAlias

from attrs import frozen

from telecmi_async._internal.messages import mask_in, shown_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_VOID: Final = frozenset({"input", "link", "meta"})
_LONGEST: Final = 200
_MOST_ROWS: Final = 100

#: The fill of each tone, on light and dark pages.
TONES_OF_BARS: Final = {
    "good": "#2f9e62",
    "busy": "#3d82d6",
    "doubt": "#c98500",
    "bad": "#d64545",
    "idle": "#8b929c",
}
_CARD: Final = (
    "border:1px solid rgba(128,128,128,.4);border-radius:6px;padding:.6em .8em;margin:.3em 0;"
    "max-width:46em;overflow-x:auto;line-height:1.4"
)
_CELL: Final = (
    "text-align:left;vertical-align:top;padding:.15em .9em .15em 0;background:none;"
    "border:0;overflow-wrap:break-word"
)
_HEAD: Final = f"{_CELL};opacity:.75;font-weight:normal;overflow-wrap:normal"
_TABLE: Final = "border-collapse:collapse;border:0;margin:.4em 0 0;width:auto;font-size:inherit"
_TRACK: Final = (
    "display:flex;height:.8em;min-width:9em;margin:.3em 0 .1em;border-radius:3px;overflow:hidden;"
    "background:rgba(128,128,128,.25)"
)
_SWATCH: Final = "display:inline-block;width:.7em;height:.7em;border-radius:2px;background:"


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


# --- what notebooks show ------------------------------------------------------------------


def one_line(text: str) -> str:
    """Return a text on one line, cut, without characters that show nothing or turn it around."""
    line = " ".join(text[: _LONGEST + 1].split())
    cut = f"{line[:_LONGEST]}…" if len(text) > _LONGEST else line
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in cut)


def plain(value: object) -> Html:
    """Return any value as short text, its phone numbers masked."""
    if isinstance(value, Html):
        return value
    # Masked before it is cut, so that no half of a number is left; an id may be long.
    text = mask_in(str(value)[: 2 * _LONGEST])
    return tag("bdi", "not known" if value is None else one_line(text))


def figure(text: str) -> Html:
    """Return a time, an amount or a masked number, which is not masked and stays on one line."""
    return tag("span", one_line(text), style="white-space:nowrap")


def moment(at: float) -> Html:
    """Return a time, seconds since 1970, as a date and a time of day in UTC."""
    return figure(f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S}")


def yes_or_no(value: bool | None) -> str | None:  # noqa: FBT001  # it is what is shown
    """Return a word for what is true, false, or not known."""
    return None if value is None else "yes" if value else "no"


def code_text(text: str | None) -> Html:
    """Return an id, which is masked only if it could be a number."""
    return (
        plain(None)
        if text is None
        else tag("code", shown_id(text), style="overflow-wrap:anywhere")
    )


def card(title: object, *parts: Html | None) -> str:
    """Return what a notebook shows for a value: a box with a title."""
    return tag("div", tag("div", tag("strong", plain(title))), *parts, style=_CARD).markup


def fact_table(rows: Iterable[tuple[str, object]]) -> Html:
    """Return names and values as a table without heads."""
    made = [
        _table_row(
            tag("th", name, style=_HEAD, scope="row"), tag("td", plain(value), style=_CELL)
        )
        for name, value in rows
    ]
    return tag("table", *made, style=_TABLE)


def grid(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> Html | None:
    """Return a table with heads; None without rows. Of very many rows the last are shown."""
    if not rows:
        return None
    head = _table_row(*(tag("th", name, style=_HEAD, scope="col") for name in heads))
    body = [
        _table_row(*(tag("td", plain(cell), style=_CELL) for cell in row))
        for row in rows[-_MOST_ROWS:]
    ]
    left_out = len(rows) - len(body)
    more = tag("div", f"{left_out:,} before these") if left_out else None
    table = tag("table", tag("thead", head), tag("tbody", *body), style=_TABLE)
    return joined(more, table)


def _table_row(*cells: Html) -> Html:
    return tag("tr", *cells, style="background:none")  # JupyterLab shades every other row


def bar(parts: Iterable[tuple[str, str, float]], total: float = 0) -> Html:
    """Return parts beside each other on a track, each a label, a tone ("" for none) and a size."""
    sized = [(label, tone, size) for label, tone, size in parts if size > 0]
    whole = max(total, sum(size for _, _, size in sized)) or 1
    pieces = [
        tag("span", style=f"width:{100 * size / whole:.4g}%;background:{TONES_OF_BARS.get(tone, 'none')}")
        for _, tone, size in sized
    ]  # fmt: skip
    words = ", ".join(f"{size:,.4g} {label}" for label, _, size in sized if label)
    return tag("div", *pieces, style=_TRACK, role="img", aria_label=words or "nothing yet")


def tone_key(tone: str, label: str) -> Html:
    """Return a word beside the colour that stands for it in a bar."""
    swatch = tag("span", style=f"{_SWATCH}{TONES_OF_BARS[tone]}")
    first, _, rest = label.partition(" ")
    # The colour is never alone at the end of a line.
    return joined(
        tag("span", swatch, " ", first, style="white-space:nowrap"),
        f" {rest}" if rest else None,
    )


def block(*children: Child) -> Html:
    """Return a part of a card, with some space above it."""
    return tag("div", *children, style="margin-top:.5em")


def numbered(items: Sequence[Html]) -> Html:
    """Return numbered steps, of very many the first."""
    shown = [tag("li", item) for item in items[:_MOST_ROWS]]
    more = len(items) - len(shown)
    return joined(
        tag("ol", *shown, style="margin:.4em 0 0;padding-left:2em"),
        tag("div", f"and {more:,} more") if more else None,
    )


def nested(items: Sequence[object]) -> Html | None:
    """Return the parts of a step as a list under it, of very many the first."""
    shown = [tag("li", plain(item)) for item in items[:_MOST_ROWS]]
    more = len(items) - len(shown)
    last = tag("li", f"and {more:,} more") if more else None
    return tag("ul", *shown, last, style="margin:0;padding-left:1.4em") if items else None


def folded(label: str, part: Html) -> Html:
    """Return a part that opens with a click."""
    return tag("details", tag("summary", label), part, style="margin-top:.4em")
