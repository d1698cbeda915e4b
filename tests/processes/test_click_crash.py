"""Web workers are killed while clients repeat their clicks; see `click_crash` and ``nox -s crash``."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from click_crash import ClickRun, parse

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.real_clock


def test_no_click_rings_twice_or_is_forgotten_if_workers_are_killed(tmp_path: Path) -> None:
    """Each key rings at most once, and each answer is true or says that it is unknown.

    Keys of killed workers are waited for until their leases are over: about 45 seconds.
    """
    settings = parse(["--kills=6", "--pause=1", "--speed=300", "--workers=2"])

    found = asyncio.run(ClickRun(settings).run(str(tmp_path / "calls.db")))

    assert found.kills == 6
    assert found.broken
    assert found.keys > 30
    assert found.bad == 0
    assert found.placed + found.unknown == found.keys
    assert found.exit_code == 0
