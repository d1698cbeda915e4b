"""What all views have in common: the head, the banner, the way around, and how forms are made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, LiteralString

from attrs import frozen

from telecmi_async.simulator.page.assets import ASSETS
from telecmi_async.simulator.page.markup import Html, joined, tag
from telecmi_async.simulator.page.words import elapsed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from telecmi_async.simulator.page.markup import Child
    from telecmi_async.simulator.protocols import PageModel

__all__ = ["Forms", "PageView", "chip", "document", "html_table", "section"]

_PLACES: Final = (
    ("./", "Overview"),
    ("deliveries", "Deliveries"),
    ("faults", "Faults"),
    ("numbers", "Numbers"),
)
_REFRESH_SECONDS: Final = 5


@frozen(kw_only=True)
class PageView:
    """What a page shows between what all pages show.

    Args:
        title: Its heading.
        place: Where it belongs among the links at the top.
        body: What is in it.
        status: The HTTP status.
        typing: Whether somebody may be writing into it: then it is not loaded again where
            there is no JavaScript, which spares what is being written.
    """

    title: Html | str
    place: str
    body: Html
    status: int = 200
    typing: bool = False


@frozen
class Forms:
    """Makes what can be pressed. All of it is sent to the page that it stands on.

    Args:
        token: Shows that a form is this page's own.
    """

    token: str

    def form(self, do: LiteralString, *children: Child, **fields: str | int) -> Html:
        """Return a form that does something.

        Args:
            do: What: see `telecmi_async.simulator.page.deeds`.
            children: What is seen of it.
            fields: What it sends besides.
        """
        hidden = [
            tag("input", type="hidden", name=name, value=value)
            for name, value in {"token": self.token, "do": do, **fields}.items()
        ]
        return tag("form", *hidden, *children, method="post", autocomplete="off")

    def button(
        self, do: LiteralString, says: str, *, label: str | None = None, **fields: str | int
    ) -> Html:
        """Return a button that does something.

        Args:
            do: What: see `telecmi_async.simulator.page.deeds`.
            says: What is written on it.
            label: What it is called, where that alone does not tell it from its neighbours.
            fields: What it sends.
        """
        return self.form(do, tag("button", says, aria_label=label), **fields)


def section(heading: str, *children: Child, beside: Child = None) -> Html:
    """Return a part of a page under its heading.

    Args:
        heading: The heading.
        children: What is in it.
        beside: What stands to the right of the heading.
    """
    head = tag("h2", heading)
    return tag("section", tag("div", head, beside, classes="head"), *children)


def html_table(
    caption: str,
    columns: Sequence[str],
    rows: Iterable[Html],
    *,
    empty: Child = None,
    classes: str | None = None,
) -> Html:
    """Return a table, or what stands in its place if it is empty.

    Args:
        caption: What it is, for those who do not see it.
        columns: The heads of its columns; ``""`` for one of buttons.
        rows: Its rows.
        empty: What is said if there are none.
        classes: The table's classes.
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
    # What is scrolled must be reached by keyboard, too.
    return tag("div", whole, classes="scroll", role="region", aria_label=caption, tabindex=0)


def chip(tone: str, says: str) -> Html:
    """Return a state: in words, and in a colour that repeats them.

    Args:
        tone: ``good``, ``bad``, ``busy``, or ``""`` for none of these.
        says: The words.
    """
    return tag("span", says, classes=f"chip {tone}")


def document(simulator: PageModel, view: PageView, problem: str | None) -> bytes:
    """Return a whole page.

    Args:
        simulator: What it is about.
        view: What it shows.
        problem: Why something was not done, if something was not.
    """
    waits = view.typing or problem is not None
    again = tag("meta", http_equiv="refresh", content=_REFRESH_SECONDS)
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", "TeleCMI simulator"),
        tag("link", rel="icon", type="image/svg+xml", href=ASSETS["/icon.svg"].address),
        tag("link", rel="stylesheet", href=ASSETS["/style.css"].address),
        None if problem else tag("script", src=ASSETS["/script.js"].address, defer=True),
        None if waits else tag("noscript", again),
    )
    main = tag(
        "main",
        tag("h1", view.title),
        tag("p", problem, classes="problem", role="alert") if problem else None,
        view.body,
        _foot(simulator),
        id="main",
        tabindex=-1,
    )
    body = tag("body", _header(view.place), main)
    page = joined([Html("<!doctype html>"), tag("html", head, body, lang="en")])
    return page.markup.encode()


def _header(place: str) -> Html:
    links = [
        tag("a", says, href=address, aria_current="page" if address == place else None)
        for address, says in _PLACES
    ]
    banner = tag(
        "p",
        tag("strong", "Simulator: no phone rings."),
        " What is shown here happens on this machine only.",
        classes="banner",
    )
    return joined(
        [
            tag("a", "Skip to the content", href="#main", classes="skip"),
            tag(
                "header",
                banner,
                tag(
                    "div",
                    tag("span", "telecmi_async", classes="brand"),
                    tag("nav", *links, aria_label="Pages"),
                    tag("span", id="state", role="status"),
                    tag("button", "Pause", id="pause", type="button", hidden=True),
                    classes="bar",
                ),
            ),
        ]
    )


def _foot(simulator: PageModel) -> Html:
    speed = f", {simulator.speed:g} times as fast as ours" if simulator.speed != 1 else ""
    return tag(
        "footer",
        tag("dl",
            tag("div",
                tag("dt", "Time in calls"),
                tag("dd", elapsed(simulator.now), speed)),
            tag("div",
                tag("dt", "Trace: the same in every run that did the same"),
                tag("dd", tag("code", simulator.trace()))),
        ),
    )  # fmt: skip
