"""Send permit: rules and the intent on record, at the last moment before a request leaves."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import anyio
from anyio import current_time
from attrs import define

from telecmi_async.errors import CallCancelled, StoreError
from telecmi_async.ledger import Claim, Intent, RuleDecision
from telecmi_async.pacing.law import STUCK_INTENT

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from telecmi_async.calls.call import Call

__all__ = ["PendingSend", "SendPermit"]

logger = logging.getLogger("telecmi_async")

_STRANGE = "the ledger raised an error other than StoreError"


@define(eq=False)
class PendingSend:
    """A contact on its way to being sent.

    Args:
        claim: The contact.
        owner: The name under which it is claimed.
        probe: Whether it probes for an open circuit breaker.
        began: When its start was.
    """

    claim: Claim
    owner: str
    probe: bool = False
    began: float = 0.0


class SendPermit:
    """Permits one send; a `telecmi_async.calls.placement.Permit`.

    Args:
        intend: Puts the intent of a token on record, or returns why not; ``None`` if another
            worker has the contact.
        fence: Within how many seconds of the intent the request must leave.
        restart: Waits for another start, where the intent took so long that the first one is
            over; returns False if there is none.
    """

    __slots__ = ("_answered", "_fence", "_intend", "_restart", "decision", "failure", "token")

    def __init__(
        self,
        intend: Callable[[str], Awaitable[Intent | RuleDecision | None]],
        fence: float,
        restart: Callable[[], Awaitable[bool]],
    ) -> None:
        self._intend = intend
        self._fence = fence
        self._restart = restart
        self._answered: anyio.Event | None = None
        #: The send's id, if its intent is, or may be, on record.
        self.token: str | None = None
        #: The ledger's failure, if it is unclear whether the intent is on record.
        self.failure: StoreError | None = None
        #: The rule that forbids the send, if one does.
        self.decision: RuleDecision | None = None

    async def __call__(self, call: Call) -> float:
        """Put the intent on record; return the time by which the request must leave."""
        self._answered = anyio.Event()
        try:
            return await self._ask(call)
        finally:
            self._answered.set()

    async def ended(self) -> None:
        """Wait until it is known whether an intent is on record.

        A call that is cancelled meanwhile ends earlier.
        """
        if self._answered is not None:
            await self._answered.wait()

    async def _ask(self, call: Call) -> float:
        # Counted from before the intent: a process that slept meanwhile is late by that much.
        began = current_time()
        self.token = call.reference
        try:
            answer = await self._intend(self.token)
        except Exception as error:
            self.failure = error if isinstance(error, StoreError) else StoreError(_STRANGE)
            if error is not self.failure:
                logger.exception(_STRANGE)
            raise CallCancelled(f"nothing was sent: the ledger fails: {self.failure}") from None
        if isinstance(answer, Intent):
            if current_time() > began + STUCK_INTENT and not await self._restart():
                raise CallCancelled("its start was over before its intent was on record")
            return began + self._fence
        self.token, self.decision = None, answer
        why = "the contact was lost" if answer is None else f"a rule forbids it ({answer.rule})"
        raise CallCancelled(why)
