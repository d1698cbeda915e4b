"""The contract of steering on SQLite."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from ledgers import NO_LIMITS, begin, new_token, take
from steering_contract import *  # noqa: F403  # pytest finds tests and fixtures by name

from telecmi_async.errors import StoreError
from telecmi_async.ledger import RuleDecision

if TYPE_CHECKING:
    import sqlite3

    from telecmi_async.ledger import SqliteLedger


@pytest.mark.parametrize("withdrawn", [False, True])
async def test_a_worker_of_an_older_version_dials_no_more(
    ledger: SqliteLedger, *, withdrawn: bool
) -> None:
    """A send without a revision is refused once the settings were changed, or it was withdrawn."""
    (number,) = await begin(ledger)
    claim = await take(ledger)

    def send_as_before(db: sqlite3.Connection, now: float) -> None:
        db.execute(
            "INSERT INTO send (token, contact, campaign, number, worker, epoch, at, send_by, "
            "lease_until) VALUES (?, ?, 1, ?, 'w', 1, ?, ?, ?)",
            (new_token(), claim.contact, number, now, now + 30, now + 60),
        )

    await ledger._write(send_as_before)
    if withdrawn:
        await ledger.withdraw("spring", [number])
    else:
        await ledger.change_settings("spring", {}, revision=0)

    with pytest.raises(StoreError, match="a value is refused"):
        await ledger._write(send_as_before)


async def test_a_withdrawn_contact_that_an_older_version_claimed_is_not_dialled(
    ledger: SqliteLedger,
) -> None:
    """The intent looks at the withdrawal itself: an older version may have made it pending."""
    await begin(ledger)
    claim = await take(ledger)

    def withdraw_unnoticed(db: sqlite3.Connection, _: float) -> None:
        db.execute("UPDATE contact SET withdrawn = 'withdrawn by asha'")

    await ledger._write(withdraw_unnoticed)
    decision = await ledger.intend(
        claim, "w", new_token(), limits=NO_LIMITS, fence=30, lease=60
    )

    assert isinstance(decision, RuleDecision)
    assert (decision.rule, decision.reason) == ("withdrawn", "withdrawn by asha")
