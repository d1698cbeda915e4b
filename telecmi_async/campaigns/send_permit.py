"""The last word before a campaign's request leaves: rules and the intent, on record."""

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

_STRANGE = "the ledger raised what is no StoreError"


@define(eq=False)
class PendingSend:
    """A contact on its way to being sent.

    Args:
        claim: The contact.
        owner: The name under which it is held.
        probe: Whether it is to find out if calls can be placed again.
        began: When it had its turn.
    """

    claim: Claim
    owner: str
    probe: bool = False
    began: float = 0.0


class SendPermit:
    """Permits one send; a `telecmi_async.calls.placement.Permit`.

    Args:
        intend: Puts the intent of a token on record, or says why not; ``None`` if the contact
            was lost to another worker.
        fence: Within how many seconds of the intent the request must leave.
        turn: Waits for another turn, where the intent took so long that the first one is over;
            tells whether there is one.
    """

    __slots__ = ("_answered", "_fence", "_intend", "_turn", "failure", "refusal", "token")

    def __init__(
        self,
        intend: Callable[[str], Awaitable[Intent | RuleDecision | None]],
        fence: float,
        turn: Callable[[], Awaitable[bool]],
    ) -> None:
        self._intend = intend
        self._fence = fence
        self._turn = turn
        self._answered: anyio.Event | None = None
        #: The send's id, if its intent is, or may be, on record.
        self.token: str | None = None
        #: Why nobody knows whether the intent is on record, if the ledger failed.
        self.failure: StoreError | None = None
        #: Why it may not be sent, if a rule says so.
        self.refusal: RuleDecision | None = None

    async def __call__(self, call: Call) -> float:
        """Put the intent on record, and return by when the request must have left."""
        self._answered = anyio.Event()
        try:
            return await self._ask(call)
        finally:
            self._answered.set()

    async def ended(self) -> None:
        """Wait until it is known whether an intent is on record.

        A call that is cancelled meanwhile is over before.
        """
        if self._answered is not None:
            await self._answered.wait()

    async def _ask(self, call: Call) -> float:
        # Counted from before the intent: a process that slept meanwhile is late by that much.
        send_by = current_time() + self._fence
        self.token = call.reference
        try:
            answer = await self._intend(self.token)
        except Exception as error:
            self.failure = error if isinstance(error, StoreError) else StoreError(_STRANGE)
            if error is not self.failure:
                logger.exception(_STRANGE)
            raise CallCancelled(
                f"nothing was sent, for the ledger fails: {self.failure}"
            ) from None
        if isinstance(answer, Intent):
            stuck = current_time() > send_by - self._fence + STUCK_INTENT
            if stuck and not await self._turn():
                raise CallCancelled("its turn was over before its intent was on record")
            return send_by
        self.token, self.refusal = None, answer
        why = "the contact was lost" if answer is None else f"a rule forbids it ({answer.rule})"
        raise CallCancelled(why)
