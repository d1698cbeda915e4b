"""The paths of the project's folders."""

from __future__ import annotations

from pathlib import Path

TESTS = Path(__file__).parents[1]
ROOT = TESTS.parent
DATA = TESTS / "data"
DOCS = ROOT / "docs"
SUPPORT = TESTS / "support"


def docs_page(name: str) -> Path:
    """Return a page of the documentation by its name; pages of the API stand apart."""
    (found,) = (page for page in DOCS.rglob(name) if page.parent.name != "api")
    return found


def api_pages() -> list[Path]:
    """Return the pages that document the public names, room by room."""
    return sorted((DOCS / "reference" / "api").glob("*.md"))
