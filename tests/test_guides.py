"""The how-to guides keep their shape: short, found by their headings, and none is a dead end."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from project_paths import DOCS

if TYPE_CHECKING:
    from pathlib import Path

GUIDES = sorted(DOCS.glob("how-to/*.md"))
HEADING = re.compile(r"^#{1,3} (.+)$", re.MULTILINE)
CODE = re.compile(r"^( *)```\w*\n.*?^\1```$|^<!--.*?-->$", re.MULTILINE | re.DOTALL)
# Words that people search for.
SOUGHT = [
    "answered", "concurrency", "DTMF", "duplicate calls", "idempotency", "inbound calls", "IVR",
    "PgBouncer", "proxy", "rate limit", "retry", "time zone", "webhook signature",
]  # fmt: skip


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.name)
def test_a_guide_is_short_and_leads_on(page: Path) -> None:
    """A guide has at most 1,500 words, says first what it is for, and links to another part."""
    text = page.read_text(encoding="utf-8")
    title, _, body = CODE.sub("", text).strip().partition("\n")
    first, _, _ = body.strip().partition("\n##")

    assert len(text.split()) <= 1_500
    assert title.startswith("# ")
    assert len(first.split()) >= 15
    assert re.search(r"\]\(\.\./(tutorial|explanation|reference)/", text)


def test_headings_say_what_people_search_for() -> None:
    """Each of the sought words stands in the heading of a guide."""
    headings = "\n".join(
        heading
        for page in GUIDES
        for heading in HEADING.findall(CODE.sub("", page.read_text(encoding="utf-8")))
    ).lower()

    assert [word for word in SOUGHT if word.lower() not in headings] == []
