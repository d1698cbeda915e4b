"""A simulator driven by hand: no event loop, no network, time as an argument."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from telecmi_async.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import Mapping

    from telecmi_async.simulator import SimulatedCall
    from telecmi_async.simulator.replies import Decision

TO = 19170000001
FROM = 19170000000
GLOBAL = "/v2/global_pcmo_make_call"
HANGUP = {"action": "hangup"}


def post(
    simulator: Simulator, path: str, fields: Mapping[str, object], *, at: float = 0.0
) -> Decision:
    """Send a request with the right credentials."""
    body = {"appid": simulator.app_id, "secret": simulator.secret, **fields}
    headers = {"content-type": "application/json"}
    decision = simulator.receive("POST", path, headers, json.dumps(body).encode(), at=at)
    simulator.leave()
    return decision


def place(
    simulator: Simulator,
    *pcmo: Mapping[str, object],
    to: int = TO,
    at: float = 0.0,
    **more: object,
) -> SimulatedCall:
    """Place a call that is accepted, whatever the reply."""
    fields = {"from": FROM, "to": to, "pcmo": pcmo or (HANGUP,), **more}
    call = post(simulator, GLOBAL, fields, at=at).call
    assert call is not None
    return call


def pass_time(simulator: Simulator, until: float) -> None:
    """Move the simulator's clock."""
    simulator.receive("POST", "/", {}, b"", at=until)
    simulator.leave()


def lived(*pcmo: Mapping[str, object], to: int = TO, **options: Any) -> SimulatedCall:
    """Return a call that is over."""
    duration = options.pop("duration", None)
    simulator = Simulator(**options)
    more = {} if duration is None else {"duration": duration}
    call = place(simulator, *pcmo, to=to, **more)
    pass_time(simulator, 100_000.0)
    assert call.over
    return call


def story(call: SimulatedCall) -> list[str]:
    """Return what happened, in short: ``a answered``, ``b hangup``, ``play``."""
    return [
        note.detail if note.what == "step" else f"{note.leg} {note.what}"
        for note in call.timeline
    ]


def said(decision: Decision) -> dict[str, Any]:
    """Return the JSON of a reply."""
    decoded: dict[str, Any] = json.loads(decision.answer.body)
    return decoded


def trace_of(simulator: Simulator) -> str:
    """Return all that happened in all calls, and what became of the messages about them."""
    notes = [
        (
            call.to,
            call.attempt,
            round(note.at - call.accepted, 6),
            note.what,
            note.leg,
            note.detail,
        )
        for call in simulator.calls
        for note in call.timeline
    ]
    messages = [
        (
            each.call.to,
            each.call.attempt,
            each.key,
            each.tries,
            each.arrived,
            len(each.body),
        )
        for each in simulator.deliveries
    ]
    return "\n".join(map(str, [*sorted(notes), *sorted(messages)]))
