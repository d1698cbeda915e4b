"""Page view of one call: its facts, timeline, call flow, legs and messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from telecmi_async._internal.html import joined, tag
from telecmi_async.simulator.page.elements import chip, fact_list, html_row, html_table, section
from telecmi_async.simulator.page.flow import flow_steps
from telecmi_async.simulator.page.labels import named, since, span
from telecmi_async.simulator.page.layout import PageView
from telecmi_async.simulator.page.lists import TONES, message_table, stage_chip

if TYPE_CHECKING:
    from collections.abc import Mapping

    from telecmi_async._internal.html import Child, Html
    from telecmi_async.simulator.call import SimulatedCall
    from telecmi_async.simulator.page.layout import PageModel

_MOST_NOTES: Final = 300


def call_view(page: PageModel, fields: Mapping[str, str]) -> PageView:
    """Return all that is known of a call, or that it is unknown."""
    call = page.world.find(fields.get("id", ""))
    if call is None:
        gone = tag("p", "It is over, and no longer among the newest; or it never was.")
        return PageView(title="No such call", place="", status=404, body=gone)
    about = [one for one in reversed(page.world.deliveries) if one.call is call]
    body = joined(
        fact_list(_facts(page, call)),
        _by_hand(page, call),
        tag(
            "div",
            section("Timeline", _timeline(call)),
            section("Call flow", _flow(call)),
            classes="pair",
        ),
        section("Legs", _legs(page, call)) if call.legs else None,
        section(
            "Messages to your program",
            message_table(page, about[:_MOST_NOTES], "No message yet."),
        ),
    )
    return PageView(
        title=joined("Call to ", tag("span", page.number(call.to), classes="digits")),
        place="",
        typing="press" in call.waits_for,
        body=body,
    )


def _facts(page: PageModel, call: SimulatedCall) -> list[tuple[str, Child]]:
    params = call.extra_params
    # Their names only: the values are the user's own.
    names = (
        "a text" if isinstance(params, str) else ", ".join(map(named, list(params or ())[:9]))
    )
    return [
        ("State", stage_chip(call)),
        ("Accepted", f"{span(page.world.now - call.accepted)} ago"),
        ("From", tag("span", page.number(call.from_), classes="digits")),
        ("Request id", tag("code", call.request_id)),
        ("Endpoint", call.region or "none: it came in"),
        ("Attempt for this number", call.attempt),
        ("Longest", span(call.duration) if call.duration else "not said"),
        ("Talked", f"{call.talk_seconds} s"),
        ("Extra params", names or "none"),
    ]


def _by_hand(page: PageModel, call: SimulatedCall) -> Html | None:
    if call.over or not call.legs:
        return None
    this = call.request_id
    keys = tag("input", id="keys", name="keys", required=True, inputmode="numeric",
               maxlength=32, pattern="[0-9*#]+", size=8)  # fmt: skip
    label = tag("label", "Keys", for_="keys")
    ways = {
        "answer": page.button("answer", "Answer", call=this),
        "miss": page.button("miss", "Let it ring in vain", call=this),
        "press": page.form("press", label, keys, tag("button", "Press"), call=this),
        "hangup": page.button("hangup", "Hang up", call=this),
    }
    shown = [
        tag("div", way, id=f"hand-{name}")
        for name, way in ways.items()
        if name in call.waits_for or name == "hangup"
    ]
    return section("Manual control", tag("div", *shown, classes="hand"))


def _flow(call: SimulatedCall) -> Html:
    states: dict[str, Child] = {"done": "done", "now": chip("busy", "now"), "next": "to come"}
    rows = [
        html_row(
            (n, "number"),
            step.name,
            step.detail,
            (states[step.state], "number"),
            classes=step.state,
        )
        for n, step in enumerate(flow_steps(call)[:_MOST_NOTES], 1)
    ]
    columns = ["Step", "Action", "Detail", "State"]
    return html_table("Call flow", columns, rows, empty="No action yet.")


def _timeline(call: SimulatedCall) -> Html:
    left_out = max(0, len(call.timeline) - _MOST_NOTES)
    rows = [
        html_row(
            (since(note.at - call.accepted), "number"),
            note.leg,
            note.what.replace("_", " "),
            named(note.detail),
            mark=f"n-{n}",
        )
        for n, note in enumerate(call.timeline)
        if n >= left_out
    ]
    columns = ["When", "Leg", "What", "Detail"]
    return joined(
        tag("p", f"{left_out:,} before these", classes="more") if left_out else None,
        html_table("Timeline", columns, rows, empty="Nothing has happened yet."),
    )


def _legs(page: PageModel, call: SimulatedCall) -> Html:
    rows = [
        html_row(
            leg.name,
            (page.number(leg.to), "digits"),
            chip(TONES.get(ending := leg.ending or "under way", "busy"), ending),
            (f"{leg.talk_seconds} s", "number"),
            "made" if leg.recorded else "to come",
            tag("code", leg.cmiuuid),
        )
        for leg in call.legs
    ]
    return html_table("Legs", ["Leg", "To", "State", "Talked", "Record", "Id"], rows)
