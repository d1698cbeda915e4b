"""The documentation in a real browser: it fits on a phone, and its search finds things.

It looks at the pages that ``nox -s docs`` built. With ``DOCS_SHOTS=folder`` a picture of each
page is kept there: at 1440 and 390 pixels, light and dark.
"""

from __future__ import annotations

import base64
import functools
import os
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from chromium import Browser, opened
from project_paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

HTML = Path(os.environ.get("DOCS_HTML", ROOT / ".nox" / "_html"))
SHOTS = os.environ.get("DOCS_SHOTS")
PHONE = 390
DESKTOP = 1440
# Elements of the text that stand out on the right, but for those that scroll within a part of it.
# The theme hides what stands out of the page, and lets the whole text scroll.
STRAYS = """
    const scrolls = element => {
        for (let e = element.parentElement; e.tagName !== 'ARTICLE'; e = e.parentElement)
            if (/auto|scroll/.test(getComputedStyle(e).overflowX)) return true;
        return false;
    };
    return [...document.querySelectorAll('article *')]
        .filter(e => e.getBoundingClientRect().right > innerWidth + 1 && !scrolls(e))
        .map(e => e.outerHTML.slice(0, 80));
"""
BROKEN = "return [...document.images].filter(i => !i.naturalWidth).map(i => i.src)"
# What people search for, and the page that must be among the first hits.
SEARCHES = {
    "install": "tutorial/install",
    "webhook signature": "how-to/webhook-security",
    "rate limit": "how-to/rate-limit",
    "idempotency": "explanation/idempotency-keys",
    "backoff": "explanation/rate-and-retry",
    "circuit breaker": "explanation/rate-and-retry",
    "make_call": "reference/api/service",
    "RetryPolicy": "reference/api/pacing",
    "CallOutcomeUnknown": "reference/api/errors",
    "time zone": "reference/campaign-rules",
    "caller id": "reference/glossary",
    "FlowLike": "reference/api/types",
    "voice bot": "how-to/voice-bot",
}
HITS = 5


class Quiet(SimpleHTTPRequestHandler):
    """A server of files that does not log."""

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """The built pages on a port, as readers get them."""
    if not (HTML / "index.html").is_file():
        pytest.fail(f"{HTML} has no pages: build them with nox -s docs")
    handler = functools.partial(Quiet, directory=str(HTML))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser with its default settings."""
    with opened(tmp_path_factory.mktemp("profile"), javascript=True) as browser:
        yield browser


def pages() -> list[str]:
    """Return the addresses of all pages."""
    return sorted(path.relative_to(HTML).as_posix() for path in HTML.rglob("*.html"))


def shoot(browser: Browser, page: str, width: int, scheme: str) -> None:
    """Keep a picture of the whole page, if pictures are wanted."""
    if SHOTS is None:
        return
    height = min(browser.run("return document.documentElement.scrollHeight"), 16_000)
    clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
    options = {"captureBeyondViewport": True, "clip": clip}
    shot = browser.driver.execute_cdp_cmd("Page.captureScreenshot", options)
    name = page.removesuffix(".html").replace("/", ".")
    path = Path(SHOTS, f"{name}-{width}-{scheme}.png")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(base64.b64decode(shot["data"]))


@pytest.mark.parametrize("width", [PHONE, DESKTOP])
@pytest.mark.parametrize("scheme", ["light", "dark"] if SHOTS else ["light"])
def test_every_page_fits_and_is_whole(
    site: str, chromium: Browser, width: int, scheme: str
) -> None:
    """No page is wider than its screen, nothing is cut off, and no picture is missing."""
    chromium.look(width, 844, scheme=scheme)
    chromium.complaints()
    wrong: dict[str, object] = {}
    for page in pages():
        chromium.visit(f"{site}/{page}")
        wide = chromium.run("return document.documentElement.scrollWidth")
        found = {
            "width": wide if wide > width else None,
            "cut off": chromium.run(STRAYS),
            "pictures": chromium.run(BROKEN),
            "complaints": chromium.complaints(),
        }
        wrong |= {f"{page}: {what}": value for what, value in found.items() if value}
        shoot(chromium, page, width, scheme)

    assert len(pages()) > 40
    assert wrong == {}


def test_drawings_follow_the_theme(site: str, chromium: Browser) -> None:
    """A drawing is dark where the page is: by the reader's system, or by the page's own switch."""
    colours = "return getComputedStyle(document.querySelector('svg.drawing .panel')).fill"
    shades: dict[tuple[str, str], str] = {}
    for scheme in ("light", "dark"):
        chromium.look(DESKTOP, 900, scheme=scheme)
        chromium.visit(f"{site}/explanation/architecture.html")
        for theme in ("auto", "light", "dark"):
            chromium.run(f"document.body.dataset.theme = '{theme}'")
            shades[scheme, theme] = chromium.run(colours)
    light, dark = shades["light", "auto"], shades["dark", "auto"]

    assert light != dark
    assert shades["light", "light"] == shades["dark", "light"] == light
    assert shades["light", "dark"] == shades["dark", "dark"] == dark


@pytest.mark.parametrize("words", SEARCHES)
def test_the_search_finds_what_people_look_for(
    site: str, chromium: Browser, words: str
) -> None:
    """The page that answers is among the first hits of the documentation's own search."""
    chromium.look(DESKTOP, 900)
    chromium.visit(f"{site}/search.html?q={words.replace(' ', '+')}")
    chromium.until(lambda: "finished" in chromium.text(".search-summary"))
    links = [link.get_attribute("href") or "" for link in chromium.all("ul.search > li > a")]
    hits = list(
        dict.fromkeys(link.removeprefix(f"{site}/").partition(".html")[0] for link in links)
    )

    assert SEARCHES[words] in hits[:HITS], hits[:10]
