"""The paths of the project's folders."""

from __future__ import annotations

from pathlib import Path

TESTS = Path(__file__).parents[1]
ROOT = TESTS.parent
DATA = TESTS / "data"
DOCS = ROOT / "docs"
SUPPORT = TESTS / "support"


def docs_page(name: str) -> Path:
    """Return a page of the documentation, in whichever of its parts it is."""
    (found,) = DOCS.rglob(name)
    return found
