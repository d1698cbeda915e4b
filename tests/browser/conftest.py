"""Browsers for all tests of pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from chromium import Browser, opened

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser with its default settings."""
    with opened(tmp_path_factory.mktemp("profile"), javascript=True) as browser:
        yield browser


@pytest.fixture
def browser(chromium: Browser) -> Browser:
    """The same browser, reset after the previous test."""
    chromium.visit("about:blank")
    chromium.look(1_200, 900)
    chromium.complaints()
    return chromium


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser without JavaScript."""
    with opened(tmp_path_factory.mktemp("profile"), javascript=False) as browser:
        yield browser
