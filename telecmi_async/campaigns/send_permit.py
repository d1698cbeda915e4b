"""Send permit: rules and the intent on record, at the last moment before a request leaves."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import anyio
from attrs import define, field

from telecmi_async.campaigns.settings import CampaignSettings
from telecmi_async.errors import CallCancelled, StoreError
from telecmi_async.ledger import Claim, Intent, RuleDecision

if TYPE_CHECKING:
    from telecmi_async.calls.call import Call

logger = logging.getLogger("telecmi_async")

_STRANGE = "the ledger raised an error other than StoreError"


@define(eq=False)
class PendingSend:
    """A contact on its way to being sent."""

    claim: Claim
    #: The name under which it is claimed.
    owner: str
    #: The settings by which it is made, and their revision.
    settings: CampaignSettings
    revision: int
    #: Whether it is a probe of the open circuit breaker.
    probe: bool = False
    #: When its request is to leave.
    due: float = 0.0
    #: When it started.
    began: float = 0.0


@define(eq=False)
class SendPermit:
    """Permits one send; a `telecmi_async.calls.placement.Permit`.

    ``intend`` puts the intent of a token on record, or returns why not (``None`` if another
    worker has the contact); within ``fence`` seconds of it the request must leave. ``reach``
    waits for the send's start, or for another if that is over, counted from when the intent was
    begun; it returns False if no start is left.
    """

    _intend: Callable[[str], Awaitable[Intent | RuleDecision | None]]
    _fence: float
    _reach: Callable[[float], Awaitable[bool]]
    _now: Callable[[], float] = field(default=anyio.current_time, kw_only=True, alias="now")
    _asking: bool = field(default=False, init=False)
    _answered: anyio.Event | None = field(default=None, init=False)
    #: The send's id, if its intent is, or may be, on record.
    token: str | None = field(default=None, init=False)
    #: The ledger's failure, if it is unclear whether the intent is on record.
    failure: StoreError | None = field(default=None, init=False)
    #: The rule that denies the send, if one does.
    decision: RuleDecision | None = field(default=None, init=False)

    async def __call__(self, call: Call) -> float:
        """Put the intent on record; return the time by which the request must leave."""
        self._asking = True
        try:
            return await self._ask(call)
        finally:
            self._asking = False
            if self._answered is not None:
                self._answered.set()

    async def ended(self) -> None:
        """Wait until it is known whether an intent is on record; cancelled calls end earlier."""
        if self._asking:
            self._answered = anyio.Event()
            await self._answered.wait()

    async def _ask(self, call: Call) -> float:
        # Counted from before the intent: a process that slept meanwhile is late by that much.
        began = self._now()
        self.token = call.reference
        try:
            answer = await self._intend(self.token)
        except Exception as error:
            self.failure = error if isinstance(error, StoreError) else StoreError(_STRANGE)
            if error is not self.failure:
                logger.exception(_STRANGE)
            raise CallCancelled(f"nothing was sent: the ledger fails: {self.failure}") from None
        if isinstance(answer, Intent):
            if not await self._reach(began):
                raise CallCancelled("no start was left for it when its intent was on record")
            return began + self._fence
        self.token, self.decision = None, answer
        why = "the contact was lost" if answer is None else f"a rule forbids it ({answer.rule})"
        raise CallCancelled(why)
