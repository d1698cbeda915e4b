"""Shared by ledger tests: a clock, and helpers that open ledgers and send."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Protocol

from attrs import define

from telecmi_async.ledger import NewContact, SendLimits, SendResult, SqliteLedger
from telecmi_async.ledger.states import ContactState

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from telecmi_async.ledger import Claim, Intent, Ledger, RuleDecision

FIRST = 919000000000
NO_LIMITS = SendLimits()
LEASE = 60.0
FENCE = 30.0
PLACED = SendResult(state=ContactState.PLACED)
UNKNOWN = SendResult(state=ContactState.UNKNOWN, detail="ReadTimeout")

_numbers = itertools.count(FIRST)
_tokens = itertools.count()


@define
class Clock:
    """A wall clock that the test sets."""

    time: float = 1_800_000_000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.time


class OpenLedger(Protocol):
    """Returns a ledger to be entered; ledgers of one folder share their contents."""

    def __call__(
        self, folder: Path, clock: Callable[[], float], /
    ) -> AbstractAsyncContextManager[Ledger]: ...


def open_sqlite(folder: Path, clock: Callable[[], float]) -> SqliteLedger:
    """Return a SQLite ledger, to be entered."""
    return SqliteLedger(folder / "ledger.db", clock=clock)


def new_contacts(count: int, **more: float) -> list[NewContact]:
    """Return contacts with numbers that no other test uses."""
    return [
        NewContact(number=next(_numbers), columns={"row": str(row)}, **more)
        for row in range(count)
    ]


def new_token() -> str:
    """Return a token that was not used before."""
    return f"tcm_{next(_tokens)}"


async def begin(
    ledger: Ledger, count: int = 1, *, name: str = "spring", **more: float
) -> list[int]:
    """Begin a campaign and load contacts; return their numbers."""
    await ledger.create(name, {})
    contacts = new_contacts(count, **more)
    await ledger.load(name, contacts)
    return [contact.number for contact in contacts]


async def take(ledger: Ledger, worker: str = "w", name: str = "spring") -> Claim:
    """Claim the next contact."""
    (claim,) = await ledger.claim(name, worker, most=1, lease=LEASE)
    return claim


async def intend(
    ledger: Ledger, claim: Claim, token: str, worker: str = "w", limits: SendLimits = NO_LIMITS
) -> Intent | RuleDecision | None:
    """Record the intent to send."""
    return await ledger.intend(claim, worker, token, limits=limits, fence=FENCE, lease=LEASE)


async def send(
    ledger: Ledger, outcome: SendResult | None = None, *, name: str = "spring"
) -> tuple[Claim, str]:
    """Claim a contact and send to it; settle it if there is an outcome."""
    claim, token = await take(ledger, name=name), new_token()
    assert await intend(ledger, claim, token) is not None
    if outcome is not None:
        assert await ledger.settle(token, outcome) is True
    return claim, token


async def counted(ledger: Ledger, name: str = "spring") -> dict[str, int]:
    """Return how many contacts are in each state that has any."""
    state = await ledger.state(name)
    assert list(state.counts) == list(ContactState)
    return {found.value: count for found, count in state.counts.items() if count}
