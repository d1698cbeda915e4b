"""Page lists: newest first, searched and paged on the server."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import urlencode

from telecmi_async._internal.html import joined, tag
from telecmi_async.simulator.page.layout import PageView

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from telecmi_async._internal.html import Child, Html

_T = TypeVar("_T")

_PER_PAGE: Final = 50
# A search looks at so many items: the page is loaded again each second.
_MOST_SEARCHED: Final = 10_000
_LONGEST_SEARCH: Final = 64
_MOST_TERMS: Final = 4


def _terms(fields: Mapping[str, str]) -> list[str]:
    """Return what is searched for; a number may have a plus sign and blanks or dashes."""
    text = fields.get("q", "")[:_LONGEST_SEARCH].lower()
    digits = text.strip().lstrip("+").replace("-", "").replace(" ", "")
    return [digits] if digits.isdecimal() else text.split()[:_MOST_TERMS]


def _fits(terms: Sequence[str], words: Iterable[object]) -> bool:
    """Return whether each term begins one of the words, or ends a number."""
    known = [str(word).lower() for word in words]
    return all(
        any(
            word.startswith(term) or (term.isdecimal() and word.endswith(term))
            for word in known
        )
        for term in terms
    )


def list_view(
    title: str,
    place: str,
    fields: Mapping[str, str],
    newest: Iterable[_T],
    total: int,
    words: Callable[[_T], Iterable[object]],
    table: Callable[[Sequence[_T], str], Html],
    above: Child = None,
) -> PageView:
    """Return one page of a list, with a search form and links to its other pages."""
    terms, empty, note = _terms(fields), "Nothing yet.", None
    if terms:
        empty = "Nothing fits."
        note = f"Searched: the newest {_MOST_SEARCHED:,}." if total > _MOST_SEARCHED else None
        found = [item for item in islice(newest, _MOST_SEARCHED) if _fits(terms, words(item))]
        newest, total = found, len(found)
    text = fields.get("page", "")
    wanted = int(text) if text.isdecimal() and len(text) < 10 else 1
    number = max(1, min(wanted, -(-total // _PER_PAGE)))
    first = (number - 1) * _PER_PAGE
    shown = list(islice(newest, first, first + _PER_PAGE))
    query = fields.get("q", "")[:_LONGEST_SEARCH]

    def link(label: str, page: int, rel: str) -> Html:
        sought = {"q": query, "page": page} if query else {"page": page}
        return tag("a", label, href=f"{place}?{urlencode(sought, errors='replace')}", rel=rel)

    search = tag(
        "form",
        tag("label", "Search", for_="q"),
        tag("input", id="q", name="q", type="search", value=query, maxlength=_LONGEST_SEARCH),
        tag("button", "Search"),
        tag("a", "Show all", href=place) if terms else None,
        tag("span", note, classes="more") if note else None,
        method="get",
        role="search",
        classes="search",
    )
    pages = tag(
        "nav",
        link("Newer", number - 1, "prev") if number > 1 else None,
        tag("span", f"{first + 1:,} to {first + len(shown):,} of {total:,}"),
        link("Older", number + 1, "next") if first + len(shown) < total else None,
        aria_label="Pages of the list",
        classes="pager",
    )
    body = joined(above, search, table(shown, empty), pages if total > _PER_PAGE else None)
    return PageView(title=title, place=place, body=body, steady=True)
