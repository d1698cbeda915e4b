"""A campaign with all faults at once and changing workers; ``nox -s crash`` runs it longer.

It needs no process, but seconds: each kind of fault has its own tests in the everyday suite.
"""

from __future__ import annotations

import pytest
from soak import RATE, soak

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("seed", [1, 2])
async def test_everybody_is_accounted_for_whoever_comes_and_goes(seed: int) -> None:
    """With all faults at 2 %, no contact is dialled twice or forgotten, and the rate holds."""
    came = await soak(300, seed)

    assert set(came["states"]) <= {"finished", "rejected", "unknown", "failed"}
    assert came["states"]["finished"] > 250
    assert came["workers"] >= 4
    assert came["busiest"] <= RATE + 1
