"""Workers are killed and frozen at random moments; see `crash` and ``nox -s crash``."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
