"""Call result: how a call went, as `CallHandle.ended` returns it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from telecmi_async._internal.messages import mask
from telecmi_async.calls.request import CallRequest
from telecmi_async.events.state import CallState

if TYPE_CHECKING:
    from decimal import Decimal

    from telecmi_async.events import LegState, Stage


@frozen(kw_only=True, repr=False)
class CallResult:
    """What is known of a call, by webhook or by look-up.

    Example:
        What became of a call::

            call = await service.make_call(to=19170000001, pcmo=[Speak("Hello!"), Hangup()])
            result = await call.ended(timeout=7200)
            print(result.answered, result.talk_seconds, result.cost, result.complete)

    Args:
        to: The number that was dialled; ``None`` for a call from `CallService.handle_for`
            without events so far.
        request_id: TeleCMI's id for the call; ``None`` if there is none so far.
        reference: The call's own id, the one in the logs.
        state: How far the call and each of its legs have come.
        request: What was asked for; ``None`` for a call from `CallService.handle_for`.
    """

    to: int | None
    request_id: str | None
    reference: str
    state: CallState
    request: CallRequest | None = None

    def __repr__(self) -> str:
        to = None if self.to is None else mask(self.to)
        return (
            f"CallResult(to={to}, request_id={self.request_id!r}, stage={self.stage.value!r}, "
            f"answered={self.answered}, talk_seconds={self.talk_seconds}, cost={self.cost}, "
            f"complete={self.complete}, legs={len(self.legs)})"
        )

    @property
    def stage(self) -> Stage:
        """How far the call has come."""
        return self.state.stage

    @property
    def answered(self) -> bool | None:
        """Whether the callee answered; ``None`` if that is not known so far."""
        return self.state.answered

    @property
    def over(self) -> bool:
        """Whether the call has ended."""
        return self.state.over

    @property
    def complete(self) -> bool:
        """Whether the record of every known leg is there."""
        return self.state.over and self.state.recorded

    @property
    def talk_seconds(self) -> int | None:
        """The callee's talk time; 0 for an unanswered call, ``None`` if not known."""
        return self.state.talk_seconds

    @property
    def cost(self) -> Decimal | None:
        """The total cost of the legs, in a currency that TeleCMI does not name."""
        return self.state.cost

    @property
    def legs(self) -> tuple[LegState, ...]:
        """What is known of each leg, the callee's first."""
        return self.state.legs
