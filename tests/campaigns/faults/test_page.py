"""The documentation page on campaign faults names existing tests, and all fault tests."""

from __future__ import annotations

import re

from project_paths import TESTS, docs_page

PAGE = docs_page("campaign-faults.md")
NAMED = re.compile(r"`(test_\w+)`")
DEFINED = re.compile(r"^(?:async )?def (test_\w+)\(", re.MULTILINE)


def rows() -> list[str]:
    """Return the rows of the page's table."""
    return re.findall(r"^\| \d+\. .*$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)


def defined(pattern: str) -> set[str]:
    """Return the names of the tests in some files."""
    texts = [path.read_text(encoding="utf-8") for path in TESTS.rglob(pattern)]
    return {name for text in texts for name in DEFINED.findall(text)}


def test_each_row_names_tests_that_exist() -> None:
    """The rows of the table are numbered, and each names at least one test that exists."""
    there = defined("*.py")

    assert [row.split(".")[0] for row in rows()] == [f"| {n}" for n in range(1, 22)]
    for row in rows():
        assert NAMED.search(row), row
        assert set(NAMED.findall(row)) <= there


def test_each_test_of_faults_has_its_row() -> None:
    """Every fault test is named in a row of the table."""
    named = {name for row in rows() for name in NAMED.findall(row)}

    for kind in ("transport", "store", "channel", "policy"):
        assert defined(f"campaigns/faults/test_{kind}.py") <= named
    assert defined("support/campaign_numbers.py") <= named
    assert defined("servers/test_campaign_faults.py") <= named
    assert defined("processes/test_campaign_faults.py") <= named
    assert defined("processes/test_soak.py") <= named
