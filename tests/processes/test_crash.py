"""Workers are killed and frozen at random moments; see `crash` and ``nox -s crash``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from crash import Plan, Tally

if TYPE_CHECKING:
    from pathlib import Path


def test_nobody_is_dialled_twice_or_forgotten_by_workers_that_are_killed(
    tmp_path: Path,
) -> None:
    """A campaign with killed and frozen workers dials every contact at most once."""
    plan = Plan(
        tmp_path,
        str(tmp_path / "ledger.db"),
        seed=20,
        kills=6,
        stops=1,
        workers=2,
        contacts=60,
        rate=20.0,
        pause=(0.0, 0.3),
    )

    tally = plan.run()

    assert tally.kills > 2
    assert tally.dialled + tally.unknown >= 55
    assert tally == Tally(
        campaigns=1,
        kills=tally.kills,
        stops=tally.stops,
        dialled=tally.dialled,
        unknown=tally.unknown,
        unknown_dialled=tally.unknown_dialled,
        lost=tally.lost,
        found=tally.found,
    )


@pytest.mark.parametrize("harm", ["shm", "copy", "versions"])
def test_files_that_are_meddled_with_have_nobody_dialled_twice(
    tmp_path: Path, harm: str
) -> None:
    """Workers end when their files are meddled with, and others dial each contact at most once.

    ``-shm`` is removed, a backup is written over the file, or a newer version changes its schema,
    at a random moment; a worker is started at once. After a backup its operator compares it with
    the calls that were made.
    """
    plan = Plan(
        tmp_path,
        str(tmp_path / "ledger.db"),
        seed=30,
        workers=1,
        contacts=40,
        rate=20.0,
        pause=(0.2, 0.6),
        harm=harm,
        harms=1,
    )

    tally = plan.run()

    assert tally.harms == 1
    assert tally.ended or harm != "shm"  # a copy that lacks nothing goes unnoticed
    assert tally.dialled + tally.unknown >= 36
    bad = (tally.twice, tally.forgotten, tally.wrong, tally.without_intent)
    assert bad == (0, 0, 0, 0)
