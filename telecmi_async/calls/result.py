"""Call result: how a call went, as `CallHandle.ended` returns it."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from attrs import frozen

from telecmi_async._internal.frozen_json import JsonObject
from telecmi_async._internal.messages import mask
from telecmi_async.calls.request import CallRequest
from telecmi_async.events.model import CallRecord
from telecmi_async.events.state import CallState, without_zeros

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal

    from telecmi_async._internal.html import Html
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

    def _repr_html_(self) -> str:
        from telecmi_async._internal import html  # noqa: PLC0415  # for notebooks only

        rows: list[tuple[str, object]] = [
            ("stage", self.stage.replace("_", " ")),
            ("answered", html.yes_or_no(self.answered)),
            ("talked", None if self.talk_seconds is None else f"{self.talk_seconds} s"),
            ("cost", None if self.cost is None else html.figure(str(self.cost))),
            ("request id", html.code_text(self.request_id)),
        ]
        if self.over and not self.complete:
            rows.append(("records", "not all have arrived"))
        title = (
            "Result of a call" if self.to is None else f"Result of the call to {mask(self.to)}"
        )
        return html.card(title, html.fact_table(rows), self.html_of_legs())

    def html_of_legs(self) -> Html:
        """Return a time line of each leg, for notebooks."""
        from telecmi_async._internal import html  # noqa: PLC0415  # for notebooks only

        records = [leg.record for leg in self.legs if leg.record]
        starts = [record.start_time for record in records if record.start_time]
        ends = [record.end_time for record in records if record.end_time]
        lines: list[Html] = []
        for leg in self.legs:
            record = leg.record
            words = [f"leg {leg.leg}", mask(record.to) if record and record.to else ""]
            words += [
                leg.stage.replace("_", " "),
                f"cost {cost}" if (cost := _cost(record)) else "",
            ]
            line = html.block("no record so far")
            if record:
                line = html.block(
                    "its record has no start and end time: a look-up returns none"
                )
            if record and record.start_time and record.end_time:
                line = _time_line(record, min(starts), max(ends))
            head = html.plain(" · ".join(filter(None, words)))
            lines.append(html.block(head, line))
        return html.joined(*lines)

    def to_dict(self) -> dict[str, object]:
        """Return what is known as a dict that JSON can hold, for a file, a queue or a database.

        Its keys are ``to``, ``request_id``, ``reference``, ``stage``, ``answered``, ``over``,
        ``complete``, ``talk_seconds``, ``cost`` and ``legs``. ``legs`` is a list of dicts with
        ``leg``, ``cmiuuid``, ``stage``, ``to``, ``status``, ``started_at``, ``answered_at``,
        ``ended_at``, ``talk_seconds``, ``cost``, ``hangup_reason`` and ``recording``. These keys
        stay; others may be added. What is not known is ``None``.

        Numbers are text, and not masked: a masked number is no key to your own data. Times are
        ISO 8601 in UTC. Costs are decimal text, such as ``"0.39"``, since JSON's numbers are
        binary and sums of them drift. For figures of type float there is
        `telecmi_async.notebook.to_frame`.
        """
        return {
            "to": None if self.to is None else str(self.to),
            "request_id": self.request_id,
            "reference": self.reference,
            "stage": self.stage.value,
            "answered": self.answered,
            "over": self.over,
            "complete": self.complete,
            "talk_seconds": self.talk_seconds,
            "cost": None if self.cost is None else str(self.cost),
            "legs": [_leg_dict(leg) for leg in self.legs],
        }

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


def _time_line(record: CallRecord, first: datetime, last: datetime) -> Html:
    """Return when a leg was dialled, answered and ended, on a line from ``first`` to ``last``."""
    from telecmi_async._internal import html  # noqa: PLC0415  # for notebooks only

    start, end = cast("datetime", record.start_time), cast("datetime", record.end_time)
    answer = answer_time_of(record)
    waited = (start - first).total_seconds()
    rang = ((answer or end) - start).total_seconds()
    words = f"{start:%H:%M:%S} UTC dialled, rang {rang:g} s"
    parts = [("", "", waited), ("s ringing", "busy", rang)]
    if answer:
        talked = (end - answer).total_seconds()
        words += f"; {answer:%H:%M:%S} answered, talked {talked:g} s"
        parts.append(("s talking", "good", talked))
    line = html.bar(parts, (last - first).total_seconds())
    return html.joined(line, f"{words}; {end:%H:%M:%S} ended")


def answer_time_of(record: CallRecord) -> datetime | None:
    """Return when a leg was answered: records of missed legs may have such a time as well."""
    return record.answer_time if record.answered else None


def _cost(record: CallRecord | None) -> str | None:
    rate = record.call_rate if record else None
    return None if rate is None else str(without_zeros(rate))


def _leg_dict(leg: LegState) -> dict[str, object]:
    """Return a leg for `CallResult.to_dict`."""
    record = leg.record or CallRecord(raw=JsonObject())
    return {
        "leg": leg.leg,
        "cmiuuid": leg.cmiuuid,
        "stage": leg.stage.value,
        "to": record.to,
        "status": record.status,
        "started_at": iso_or_none(record.start_time),
        "answered_at": iso_or_none(answer_time_of(record)),
        "ended_at": iso_or_none(record.end_time),
        "talk_seconds": record.talk_seconds,
        "cost": _cost(record),
        "hangup_reason": record.hangup_reason,
        "recording": record.filename,
    }


def iso_or_none(moment: datetime | None) -> str | None:
    """Return a moment in ISO 8601, as exports of campaigns write it."""
    return None if moment is None else moment.isoformat(timespec="milliseconds")
