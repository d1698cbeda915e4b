"""Call log: the log lines from which one call can be reconstructed.

Every line names the call by its ``reference``, and by its ``request_id`` once there is one. Each
fact in a line is also an attribute of its record (``extra``), whose name begins with ``telecmi_``
so that it replaces no attribute of anyone else's. ``docs/reference/log-lines.md`` lists them.

No call fails because of its log. Lines are made only where a handler may want them.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from telecmi_async._internal.messages import mask, mask_in, shown_id
from telecmi_async.calls.state import CallStatus
from telecmi_async.events.model import CallRecord

if TYPE_CHECKING:
    from telecmi_async.calls.state import PlacementState
    from telecmi_async.calls.verdict import Verdict
    from telecmi_async.errors import TelecmiError
    from telecmi_async.events import CallState, Event
    from telecmi_async.phone import Region

logger = logging.getLogger("telecmi_async")

# Characters of a status that a log shows.
_LONGEST = 40

#: What a status is called in the log.
_WORDS = {CallStatus.PROGRESS: "accepted"}


class LoggedCall(Protocol):
    """What the log shows of a call; `telecmi_async.calls.call.Call` has all of it."""

    placement: PlacementState

    @property
    def region(self) -> Region | None:
        """The region of its endpoint, if it is known."""
        ...

    @property
    def request(self) -> object:
        """What was asked for; None for a call that was attached."""
        ...

    @property
    def to(self) -> int | None:
        """The number dialled, if it is known."""
        ...

    @property
    def reference(self) -> str:
        """The call's own id."""
        ...

    @property
    def state(self) -> CallState:
        """How far it has come."""
        ...


def log_outcome(call: LoggedCall) -> None:
    """Log how placing a call ended: a warning if a phone may have rung unnoticed."""
    status = call.placement.status
    level = logging.WARNING if status is CallStatus.UNKNOWN else logging.INFO
    if logger.isEnabledFor(level):
        with suppress(Exception):
            _log_outcome(call, level)


def _log_outcome(call: LoggedCall, level: int) -> None:
    placement, error = call.placement, call.placement.error
    if error is None and call.request is None:  # it was attached, and placed earlier
        _write(logging.DEBUG, "attached", "%s: it is followed from now on", call)
        return
    word = _WORDS.get(placement.status, placement.status.value)
    attempts = placement.attempts
    seconds = round(sum(attempt.seconds for attempt in attempts), 3)
    last = attempts[-1] if attempts else None
    text = "1 request" if len(attempts) == 1 else f"{len(attempts)} requests"
    if last is not None:
        text += f", {seconds:.3f} s"
        text += "" if last.status is None else f", HTTP {last.status}"
    if placement.may_be_duplicate:
        text += ", may be a duplicate"
    if error is not None:
        text += f": {mask_in(str(error))}"
    _write(
        level,
        word,
        f"%s: {word}, %s",
        call,
        text,
        status=placement.status.value,
        attempts=len(attempts),
        seconds=seconds,
        http_status=last and last.status,
        code=last and last.code,
        may_be_duplicate=placement.may_be_duplicate,
        region=call.region and call.region.value,
        error=error and type(error).__name__,
        safe_to_redial=None if error is None else error.safe_to_redial,
    )


def log_unseen(call: LoggedCall, error: TelecmiError) -> None:
    """Log a failure that the program never looked at."""
    with suppress(Exception):
        template = "%s failed and its handle was never checked: %s"
        _write(logging.ERROR, "unseen", template, call, error, error=type(error).__name__)


def log_attempt(call: LoggedCall, verdict: Verdict) -> None:
    """Log the verdict on one request."""
    if logger.isEnabledFor(logging.DEBUG):
        with suppress(Exception):
            said, facts = _attempt(call, verdict)
            _write(logging.DEBUG, "attempt", "%s: %s", call, said, **facts)


def log_retry(call: LoggedCall, verdict: Verdict, *, most: int, pause: float) -> None:
    """Log that a request is repeated after a pause; ``most`` is how many there may be."""
    if logger.isEnabledFor(logging.INFO):
        with suppress(Exception):
            said, facts = _attempt(call, verdict)
            text = f"attempt {facts['attempts']} of {most}: {said}; retrying in {pause:.2f} s"
            _write(logging.INFO, "retry", "%s: %s", call, text, **facts, pause=round(pause, 3))


def log_contradiction(call: LoggedCall, what: str, text: str, request_id: str) -> None:
    """Log that an event shows something else than the replies; ``request_id`` is the event's."""
    with suppress(Exception):
        known = shown_id(request_id) if request_id else "?"
        template = f"%s: {text} (the event's request_id: %s)"
        _write(logging.WARNING, what, template, call, known, event_request_id=known)


def log_event(call: LoggedCall, event: Event, before: CallState) -> None:
    """Log an event of a call, whose state was ``before``, and what it shows of the call's end."""
    if logger.isEnabledFor(logging.INFO):
        with suppress(Exception):
            after = call.state
            if logger.isEnabledFor(logging.DEBUG):
                facts = _event(event) | {"stage": after.stage.value}
                _write(logging.DEBUG, "event", "%s: %s", call, _said(facts), **facts)
            if after.over and _end(after) != _end(before):
                _log_end(call, event, after)


def _log_end(call: LoggedCall, event: Event, state: CallState) -> None:
    facts = _end(state) | {"legs": len(state.legs)}
    if event.request_id:  # of two that TeleCMI placed for one call, the one that ended
        facts["request_id"] = shown_id(event.request_id)
    text = (
        f"{state.stage.value}, talk {_or_unknown(state.talk_seconds, ' s')}, "
        f"cost {_or_unknown(state.cost)}, "
        f"records {'complete' if state.recorded else 'missing so far'}"
    )
    _write(logging.INFO, "ended", "%s: ended, %s", call, text, **facts)


def log_departed(event: Event, reference: str) -> None:
    """Log an event of a placed call without a handle: its record is the end of one leg."""
    level = logging.INFO if isinstance(event, CallRecord) else logging.DEBUG
    if logger.isEnabledFor(level):
        with suppress(Exception):
            facts = _event(event) | {"reference": reference or None}
            name = f"call {reference or '?'} request_id={facts['request_id']}"
            what = "record" if level == logging.INFO else "event"
            logger.log(level, "%s: %s", name, _said(facts), extra=_extra(what, facts))


def _write(
    level: int, what: str, template: str, call: LoggedCall, *arguments: object, **facts: object
) -> None:
    """Write a line whose first argument is the name of a call."""
    to, request_id = call.to, call.placement.request_id
    known: dict[str, object] = {
        "reference": call.reference,
        "request_id": None if request_id is None else shown_id(request_id),
        "to": None if to is None else mask(to),
    }
    known |= {name: value for name, value in facts.items() if value is not None}
    name = f"call {call}"
    if known["request_id"] is not None:
        name += f" request_id={known['request_id']}"
    logger.log(level, template, name, *arguments, extra=_extra(what, known))


def _extra(what: str, facts: dict[str, object]) -> dict[str, object]:
    named = {f"telecmi_{name}": value for name, value in facts.items() if value is not None}
    return {"telecmi_event": f"call.{what}", **named}


def _attempt(call: LoggedCall, verdict: Verdict) -> tuple[str, dict[str, object]]:
    """Return what is to be said of one request, and its facts."""
    return f"{verdict.outcome} ({mask_in(verdict.detail)})", {
        "attempts": len(call.placement.attempts),
        "outcome": verdict.outcome.value,
        "http_status": verdict.status,
        "code": verdict.code,
    }


def _event(event: Event) -> dict[str, object]:
    """Return the facts of an event; never its keys, and no full number."""
    status = getattr(event, "status", None)
    facts: dict[str, object] = {
        "kind": type(event).__name__,
        "event_status": None if status is None else mask_in(str(status))[:_LONGEST],
        "leg": event.leg and shown_id(event.leg),
    }
    for name in ("request_id", "cmiuuid", "conversation_uuid"):
        value: str | None = getattr(event, name)
        facts[name] = value and shown_id(value)
    if isinstance(event, CallRecord):
        facts["answered"] = event.answered
        facts["talk_seconds"] = event.talk_seconds
        facts["cost"] = None if event.call_rate is None else str(event.call_rate)
    return facts


def _said(facts: dict[str, object]) -> str:
    """Return an event's facts in words."""
    first = f"{facts['kind']} {facts['event_status'] or ''}".rstrip()
    names = ("leg", "cmiuuid", "conversation_uuid", "talk_seconds", "cost")
    return " ".join(
        [first, *(f"{name}={facts[name]}" for name in names if facts.get(name) is not None)]
    )


def _end(state: CallState) -> dict[str, object]:
    """Return what is known of a call's end."""
    return {
        "stage": state.stage.value,
        "answered": state.answered,
        "talk_seconds": state.talk_seconds,
        "cost": None if state.cost is None else str(state.cost),
        "records_complete": state.recorded,
    }


def _or_unknown(value: object, unit: str = "") -> str:
    return "unknown" if value is None else f"{value}{unit}"
