"""The page of what a campaign survives names tests that exist, and all that are of it."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "campaign-faults.md"
NAMED = re.compile(r"`(test_\w+)`")
DEFINED = re.compile(r"^(?:async )?def (test_\w+)\(", re.MULTILINE)


def rows() -> list[str]:
    """Return the rows of the page's table."""
    return re.findall(r"^\| \d+\. .*$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)


def defined(pattern: str) -> set[str]:
    """Return the names of the tests in some files."""
    texts = [path.read_text(encoding="utf-8") for path in TESTS.glob(pattern)]
    return {name for text in texts for name in DEFINED.findall(text)}


def test_each_row_names_tests_that_exist() -> None:
    """None of the twenty rows rests on a test that was renamed or taken away."""
    there = defined("test_*.py")

    assert [row.split(".")[0] for row in rows()] == [f"| {n}" for n in range(1, 21)]
    for row in rows():
        assert NAMED.search(row), row
        assert set(NAMED.findall(row)) <= there


def test_each_test_of_faults_has_its_row() -> None:
    """What is tested is told."""
    named = {name for row in rows() for name in NAMED.findall(row)}

    for pattern in ("transport", "process", "store", "channel", "policy"):
        assert defined(f"test_campaign_faults_{pattern}.py") <= named
    assert defined("test_campaign_soak.py") <= named
