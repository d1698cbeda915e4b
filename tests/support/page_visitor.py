"""A visitor of the simulator's page without a browser: asks for a view, and reads its elements."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from telecmi_async.http_server import HttpResponse
    from telecmi_async.simulator import Simulator

HOST = "127.0.0.1:8787"


def ask(
    simulator: Simulator,
    method: str,
    target: str,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
) -> HttpResponse:
    """Send a request as a browser on this machine does."""
    sent = {"host": HOST, **(headers or {})}
    decision = simulator.receive(method, target, sent, body, at=0.0)
    simulator.leave()
    return decision.answer


class Seen(HTMLParser):
    """The words and elements that a browser finds in a page."""

    def __init__(self, answer: HttpResponse) -> None:
        super().__init__()
        self.words: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(answer.body.decode())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(attrs) == len(dict(attrs)), "an attribute is given twice"
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def handle_comment(self, data: str) -> None:
        pytest.fail(f"a comment: {data}")

    @property
    def text(self) -> str:
        """All words, separated by blanks."""
        return " ".join(self.words)

    @property
    def skeleton(self) -> list[tuple[str, list[str]]]:
        """The elements and the names of their attributes."""
        return [(tag, list(attrs)) for tag, attrs in self.elements]

    def values(self, tag: str, name: str) -> list[str | None]:
        """Return all values of an attribute."""
        return [attrs[name] for found, attrs in self.elements if found == tag and name in attrs]

    def buttons(self) -> list[str | None]:
        """Return the actions that the page's forms offer."""
        return [
            attrs["value"]
            for tag, attrs in self.elements
            if tag == "input" and attrs["name"] == "do"
        ]


def see(simulator: Simulator, target: str = "/") -> Seen:
    """Load a page."""
    return Seen(ask(simulator, "GET", target))
