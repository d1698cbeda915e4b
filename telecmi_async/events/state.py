"""Call state: what is known of a call and of its legs, built up from events.

`CallState.after` follows the table of `telecmi_async.events.transitions`, so neither the order
of events nor repeats matter: states that were made of the same events are equal.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from decimal import Decimal

from attrs import frozen

from telecmi_async.events.model import CallRecord, Event
from telecmi_async.events.transitions import Signal, Stage, advance, advance_call, signal_of

#: How many legs of a call are kept, beside its first. A bridge dials a handful; more are forged.
MOST_LEGS = 64
# Of a sum, beyond two decimal places.
_ZEROS_AT_END = re.compile(r"(\.[0-9]{2}[0-9]*?)0+$")


@frozen(kw_only=True)
class LegState:
    """What is known of one leg.

    Args:
        leg: ``"a"`` for the first, ``"b"`` for those it was bridged to.
        cmiuuid: TeleCMI's id for it.
        stage: How far it has come.
        record: Its call detail record, once it arrived.
    """

    leg: str
    cmiuuid: str | None = None
    stage: Stage = Stage.NEW
    record: CallRecord | None = None

    def after(self, event: Event, signal: Signal) -> LegState:
        """Return the state after an event of this leg and its signal."""
        record = self.record
        if isinstance(event, CallRecord) and (record is None or _rank(record) < _rank(event)):
            record = event
        return LegState(
            leg=self.leg,
            cmiuuid=max(self.cmiuuid or "", event.cmiuuid or "") or None,
            stage=advance(self.stage, signal),
            record=record,
        )


@frozen(kw_only=True)
class CallState:
    """What is known of a call.

    Example:
        Add events up, in any order::

            from telecmi_async.events import CallState, parse_event

            state = CallState()
            for status in ("hangup", "out_answered"):
                state = state.after(parse_event({"leg": "a", "status": status}))
            print(state.stage, state.answered)

    Args:
        stage: How far it has come.
        legs: What is known of each leg, the first one first.
    """

    stage: Stage = Stage.NEW
    legs: tuple[LegState, ...] = ()

    def after(self, event: Event) -> CallState:
        """Return the state after an event, which must be of this call.

        An event without a signal for a leg, such as pressed keys, changes nothing, nor does a
        repeat.
        """
        signal = signal_of(event)
        if signal is None:
            return self
        # Payloads without a leg are about the first one.
        name = event.leg or "a"
        first = name == "a"
        # A call has one first leg, whether or not an event has its id.
        cmiuuid = None if first else event.cmiuuid
        legs = {_key(leg): leg for leg in self.legs}
        leg = legs.get((name, cmiuuid or ""))
        if leg is None:
            if len(legs) >= MOST_LEGS and not first:
                return self
            leg = LegState(leg=name)
        changed = leg.after(event, signal)
        legs[_key(changed)] = changed
        return CallState(
            stage=advance_call(self.stage, signal, first_leg=first),
            legs=tuple(legs[key] for key in sorted(legs)),
        )

    @property
    def over(self) -> bool:
        """Whether the call has ended."""
        return self.stage.over

    @property
    def answered(self) -> bool | None:
        """Whether the first leg was answered; ``None`` if that is not known (yet)."""
        return self.stage.answered

    @property
    def recorded(self) -> bool:
        """Whether there is a record of the first leg, and of each other known leg.

        A record that was looked up has no id. It is certainly a leg's if that is the only leg
        of its name.
        """
        looked_up = {leg.leg for leg in self.legs if leg.record and not leg.cmiuuid}
        named = Counter(leg.leg for leg in self.legs if leg.cmiuuid)
        return self._first is not None and all(
            leg.record or (leg.leg in looked_up and named[leg.leg] == 1) for leg in self.legs
        )

    @property
    def talk_seconds(self) -> int | None:
        """How long the first leg's conversation was, by its record."""
        record = self._first.record if self._first else None
        return record.talk_seconds if record else None

    @property
    def cost(self) -> Decimal | None:
        """The cost of all legs, as far as their records say, written 0.39 and not 0.390000."""
        rates = [record.call_rate for record in self._records()]
        known = [rate for rate in rates if rate is not None]
        return without_zeros(sum(known, Decimal())) if known else None

    def _records(self) -> list[CallRecord]:
        """Return each leg's record once.

        A record that was looked up has the leg's name but no id; one from a webhook has both.
        They should be the same.
        """
        recorded = [(leg, leg.record) for leg in self.legs if leg.record]
        named = {leg.leg for leg, _ in recorded if leg.cmiuuid}
        return [record for leg, record in recorded if leg.cmiuuid or leg.leg not in named]

    @property
    def _first(self) -> LegState | None:
        return next((leg for leg in self.legs if leg.leg == "a"), None)


def without_zeros(cost: Decimal) -> Decimal:
    """Return an amount written 0.39 and not 0.390000."""
    return Decimal(_ZEROS_AT_END.sub(r"\1", f"{cost:f}"))


def _key(leg: LegState) -> tuple[str, str]:
    return leg.leg, "" if leg.leg == "a" else leg.cmiuuid or ""


def _rank(record: CallRecord) -> tuple[object, ...]:
    """Return how much a record says: of two for one leg, every process must keep the same.

    An answer counts more than none, then the later and the longer record; the payload decides
    the rest.
    """
    return (
        record.answered is True,
        record.answered is not None,
        record.time.timestamp() if record.time else 0.0,
        record.duration or 0,
        json.dumps(record.raw, sort_keys=True),
    )
