"""What the build of the documentation adds and checks: links, and what language models read."""

from __future__ import annotations

import runpy
from typing import TYPE_CHECKING

import pytest
from project_paths import DOCS

if TYPE_CHECKING:
    from pathlib import Path

CHECKS = runpy.run_path(str(DOCS / "check_links.py"))
CHECK = CHECKS["faults"]
HEAD = '<h1 id="top">Page</h1>'


@pytest.mark.parametrize(
    ("link", "fault"),
    [
        ("missing.html", "leads nowhere"),
        ("other.html#nothing", "leads to no place on that page"),
        ("#nothing", "leads to no place on that page"),
        ("../page.html", "leads nowhere"),
        ("https://example", "is no address"),
        ("http://example.com/", "is no address"),
        ("mailto:nowhere", "is no address"),
    ],
)
def test_a_link_that_leads_nowhere_is_found(tmp_path: Path, link: str, fault: str) -> None:
    """Each kind of broken link is named with its page."""
    (tmp_path / "page.html").write_text(f'{HEAD}<a href="{link}">', encoding="utf-8")
    (tmp_path / "other.html").write_text(HEAD, encoding="utf-8")

    assert CHECK(tmp_path) == [f"page.html: {link} {fault}"]


def test_a_missing_picture_is_found(tmp_path: Path) -> None:
    """A picture is looked for as a page is."""
    (tmp_path / "page.html").write_text('<img src="images/a.svg">', encoding="utf-8")

    assert CHECK(tmp_path) == ["page.html: images/a.svg leads nowhere"]


def test_links_that_lead_somewhere_pass(tmp_path: Path) -> None:
    """Pages, places, files and addresses are all found."""
    links = ("", "#top", "other.html", "other.html#top", "a.md", "https://example.com/x#y")
    body = "".join(f'<a href="{link}">' for link in links)
    (tmp_path / "page.html").write_text(HEAD + body, encoding="utf-8")
    (tmp_path / "other.html").write_text(HEAD, encoding="utf-8")
    (tmp_path / "a.md").write_text("", encoding="utf-8")

    assert CHECK(tmp_path) == []


def test_every_page_has_a_copy_for_language_models(tmp_path: Path) -> None:
    """A page that the list lacks is found, and so is a copy that is not there."""
    for page in ("index.html", "search.html", "a.html", "b.html"):
        (tmp_path / page).write_text(HEAD, encoding="utf-8")
    (tmp_path / "a.md").write_text("# A", encoding="utf-8")
    (tmp_path / "llms.txt").write_text("- [A](a.md): a\n- [C](c.md): c\n", encoding="utf-8")

    assert CHECKS["unlisted"](tmp_path) == [
        "llms.txt: b.md is not listed",
        "llms.txt: c.md is not there",
    ]
