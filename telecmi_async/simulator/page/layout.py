"""Page layout: the head, the banner, the navigation and the foot, the forms, and the assets."""

from __future__ import annotations

from hashlib import blake2b
from importlib.resources import files
from typing import TYPE_CHECKING, Final, LiteralString

from attrs import frozen

from telecmi_async._internal.html import Html, joined, tag
from telecmi_async._internal.messages import mask
from telecmi_async.simulator.options import SimulatorOptions
from telecmi_async.simulator.page.elements import elapsed, named
from telecmi_async.simulator.request_log import RequestLog
from telecmi_async.simulator.world import World

if TYPE_CHECKING:
    from collections.abc import Mapping

    from telecmi_async._internal.html import Child

_PLACES: Final = (
    ("./", "Overview"),
    ("calls", "Calls"),
    ("requests", "Requests"),
    ("deliveries", "Deliveries"),
    ("faults", "Faults"),
    ("numbers", "Numbers"),
)
_REFRESH_SECONDS: Final = 5


@frozen
class Asset:
    """A file that the page loads: its content type, content, entity tag and address.

    The address changes with the content.
    """

    kind: str
    body: bytes
    tag: str
    address: str


def _asset(name: str, kind: str) -> Asset:
    body = (files("telecmi_async.simulator.page") / "static" / name).read_bytes()
    version = blake2b(body, digest_size=8).hexdigest()
    return Asset(f"{kind}; charset=utf-8", body, f'"{version}"', f"{name}?v={version}")


#: By their paths.
ASSETS: Final[Mapping[str, Asset]] = {
    "/style.css": _asset("style.css", "text/css"),
    "/script.js": _asset("script.js", "text/javascript"),
    "/icon.svg": _asset("icon.svg", "image/svg+xml"),
}


@frozen
class PageModel:
    """What the page shows and changes, and the token of its forms."""

    options: SimulatorOptions
    log: RequestLog
    world: World
    token: str

    def number(self, to: int | str) -> str:
        """Return the far end of a leg: a number, masked unless it may be shown, or a name."""
        if not isinstance(to, int):
            return named(to)
        return str(to) if self.options.reveal else mask(to)

    def form(self, do: LiteralString, *children: Child, **fields: str | int) -> Html:
        """Return a form that sends one of `PAGE_ACTIONS` to the page that it stands on."""
        hidden = [
            tag("input", type="hidden", name=name, value=value)
            for name, value in {"token": self.token, "do": do, **fields}.items()
        ]
        return tag("form", *hidden, *children, method="post", autocomplete="off")

    def button(
        self, do: LiteralString, text: str, *, label: str | None = None, **fields: str | int
    ) -> Html:
        """Return a button that sends one of `PAGE_ACTIONS`.

        The label is its name for screen readers, where the text alone is not unique.
        """
        return self.form(do, tag("button", text, aria_label=label), **fields)


@frozen(kw_only=True)
class PageView:
    """The part of a page that differs from the others; ``place`` is its link at the top.

    A ``steady`` one is not reloaded where there is no JavaScript, or text that is typed would be
    lost, and audio that plays would stop.
    """

    title: Html | str
    place: str
    body: Html
    status: int = 200
    steady: bool = False


def document(page: PageModel, view: PageView, problem: str | None) -> bytes:
    """Return a whole page, which says why an action was refused, if one was."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", "TeleCMI simulator"),
        tag("link", rel="icon", type="image/svg+xml", href=ASSETS["/icon.svg"].address),
        tag("link", rel="stylesheet", href=ASSETS["/style.css"].address),
        None if problem else tag("script", src=ASSETS["/script.js"].address, defer=True),
        None
        if view.steady or problem
        else tag("noscript", tag("meta", http_equiv="refresh", content=_REFRESH_SECONDS)),
    )
    main = tag(
        "main",
        tag("h1", view.title),
        tag("p", problem, classes="problem", role="alert") if problem else None,
        view.body,
        _foot(page),
        id="main",
        tabindex=-1,
    )
    body = tag("body", _header(page, view.place), main)
    return joined(Html("<!doctype html>"), tag("html", head, body, lang="en")).markup.encode()


def _header(page: PageModel, place: str) -> Html:
    links = [
        tag("a", label, href=address, aria_current="page" if address == place else None)
        for address, label in _PLACES
    ]
    banner = tag(
        "p",
        tag("strong", "Simulator: no phone rings."),
        " What is shown here happens on this machine only.",
        " Phone numbers are shown in full." if page.options.reveal else None,
        classes="banner",
    )
    bar = tag(
        "div",
        tag("span", "telecmi_async", classes="brand"),
        tag("nav", *links, aria_label="Pages"),
        tag("span", id="state", role="status"),
        tag("button", "Pause", id="pause", type="button", hidden=True),
        classes="bar",
    )
    skip = tag("a", "Skip to the content", href="#main", classes="skip")
    return joined(skip, tag("header", banner, bar))


def _foot(page: PageModel) -> Html:
    speed = page.options.speed
    faster = f", {speed:g} times as fast as real time" if speed != 1 else ""
    return tag("footer", "Time in calls: ", elapsed(page.world.now), faster)
