"""Page views of calls and of messages about them: their lists, and one call."""

from __future__ import annotations

from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import quote

from attrs import frozen

from telecmi_async._internal.html import joined, tag
from telecmi_async.simulator.page.elements import (
    chip,
    delivery_id,
    fact_list,
    html_row,
    html_table,
    named,
    section,
    since,
    span,
)
from telecmi_async.simulator.page.layout import PageView
from telecmi_async.simulator.page.search import list_view
from telecmi_async.simulator.page.talk_audio import kept_talk
from telecmi_async.simulator.page.talk_view import talk_section

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from telecmi_async._internal.html import Child, Html
    from telecmi_async.simulator.call import SimulatedCall
    from telecmi_async.simulator.page.layout import PageModel
    from telecmi_async.simulator.webhooks import Delivery

# The colours of a call's stages.
_TONES: Final = {
    "answered": "good",
    "bridged": "good",
    "completed": "good",
    "missed": "bad",
    "busy": "bad",
    "failed": "bad",
    "started": "busy",
    "ringing": "busy",
}
_MOST_NOTES: Final = 300
# As many steps as are shown before the one that is being done, and after it.
_BEFORE: Final = 2
_SHORT: Final = 6
_AFTER: Final = 3


# -- lists of calls


def newest_calls(page: PageModel) -> tuple[Iterable[SimulatedCall], int]:
    """Return the calls that are alive or kept, newest first, and how many there are."""
    calls, live = page.world.calls, page.world.live
    # A call that lives long may be older than all that are kept.
    older = [call for call in live.values() if call.request_id not in calls]
    return chain(reversed(calls.values()), reversed(older)), len(calls) + len(older)


def calls(page: PageModel, fields: Mapping[str, str]) -> PageView:
    """Return all calls that are known."""
    return list_view(
        "Calls",
        "calls",
        fields,
        *newest_calls(page),
        lambda call: (call.to, call.from_, call.request_id, call.stage),
        partial(call_table, page, "Calls"),
    )


def call_table(
    page: PageModel, caption: str, calls: Sequence[SimulatedCall], empty: str
) -> Html:
    """Return calls as a table."""
    rows = [
        html_row(
            call_link(page, call),
            _stage_chip(call),
            (span(page.world.now - call.accepted), "number"),
            _flow_strip(_flow_steps(call)),
            mark=f"c-{call.request_id}",
        )
        for call in calls
    ]
    columns = ["To", "State", "Since", "Call flow"]
    return html_table(caption, columns, rows, empty=empty, classes="calls")


def call_link(page: PageModel, call: SimulatedCall) -> Html:
    """Return a call's number, which leads to its page."""
    address = f"call?id={quote(call.request_id)}"
    return tag("a", page.number(call.to), href=address, classes="digits")


def _stage_chip(call: SimulatedCall) -> Html:
    """Return how far a call has come."""
    return chip(_TONES.get(call.stage, ""), call.stage)


# -- call flows


@frozen
class _FlowStep:
    """One action of a call flow; its detail shows neither texts nor URLs: they can hold secrets."""

    name: str
    detail: str
    state: Literal["done", "now", "next"]


def _flow_steps(call: SimulatedCall) -> list[_FlowStep]:
    """Return the actions of a call, as far as they are known.

    The first answer of the user's program replaces what was left of the call's own flow.
    """
    done: list[str] = []
    asked: int | None = None
    for note in call.timeline:
        if note.what == "step":
            done.append(note.detail)
        elif note.what == "asked" and note.detail.endswith(" actions") and asked is None:
            asked = len(done)
    first = call.pcmo[:asked]
    details = [*map(_detail, first), *[""] * len(done)]
    last = -1 if call.over else len(done) - 1
    steps = [
        _FlowStep(named(name), details[n], "now" if n == last else "done")
        for n, name in enumerate(done)
    ]
    coming = first[len(done) :]
    return steps + [_FlowStep(named(item["action"]), _detail(item), "next") for item in coming]


def _detail(action: Mapping[str, object]) -> str:
    match action:
        case {"action": "play" | "play_get_input", "file_name": str(name)}:
            return named(name)
        case {"action": "speak", "text": str(text)}:
            return f"{len(text)} letters"
        case _:
            return ""


def _flow_strip(steps: Sequence[_FlowStep]) -> Html:
    """Return steps in a line, those around the present one if there are many."""
    now = next((n for n, step in enumerate(steps) if step.state != "done"), len(steps) - 1)
    start, end = max(0, now - _BEFORE), now + 1 + _AFTER
    if len(steps) <= _SHORT:
        start, end = 0, len(steps)
    shown = [
        tag("li", step.name, classes=step.state,
            aria_current="step" if step.state == "now" else None)
        for step in steps[start:end]
    ]  # fmt: skip
    before = tag("li", f"{start} done", classes="more") if start else None
    after = tag("li", f"{len(steps) - end} more", classes="more") if end < len(steps) else None
    return tag("ol", before, *shown, after, classes="flow")


# -- one call


def call_view(page: PageModel, fields: Mapping[str, str]) -> PageView:
    """Return all that is known of a call, or that it is unknown."""
    call = page.world.find(fields.get("id", ""))
    if call is None:
        gone = tag("p", "It is over, and no longer among the newest; or it never was.")
        return PageView(title="No such call", place="", status=404, body=gone)
    about = [one for one in reversed(page.world.deliveries) if one.call is call]
    body = joined(
        fact_list(_facts(page, call)),
        talk_section(page, call),
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
            _message_table(page, about[:_MOST_NOTES], "No message yet."),
        ),
    )
    return PageView(
        title=joined("Call to ", tag("span", page.number(call.to), classes="digits")),
        place="",
        steady="press" in call.waits_for or kept_talk(page, call.request_id) is not None,
        body=body,
    )


def _facts(page: PageModel, call: SimulatedCall) -> list[tuple[str, Child]]:
    params = call.extra_params
    # Their names only: the values are the user's own.
    names = (
        "a text" if isinstance(params, str) else ", ".join(map(named, list(params or ())[:9]))
    )
    return [
        ("State", _stage_chip(call)),
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
        for n, step in enumerate(_flow_steps(call)[:_MOST_NOTES], 1)
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
            chip(_TONES.get(ending := leg.ending or "under way", "busy"), ending),
            (f"{leg.talk_seconds} s", "number"),
            "made" if leg.recorded else "to come",
            tag("code", leg.cmiuuid),
        )
        for leg in call.legs
    ]
    return html_table("Legs", ["Leg", "To", "State", "Talked", "Record", "Id"], rows)


# -- messages


def deliveries(page: PageModel, fields: Mapping[str, str]) -> PageView:
    """Return the newest messages of all calls."""
    target, sent = page.options.webhooks.to, page.world.deliveries
    if target is None and not page.world.receivers:
        where = "They go nowhere: this simulator has no target for webhooks."
    elif isinstance(target, str):
        where = "They go to a URL, which is not shown: it holds a token."
    else:
        where = "They go into a receiver of this program."
    return list_view(
        "Messages to your program",
        "deliveries",
        fields,
        reversed(sent),
        len(sent),
        lambda one: (one.call.to, one.call.request_id, one.what, one.leg, one.status or "none",
                     one.failure),
        partial(_message_table, page),
        tag("p", where),
    )  # fmt: skip


def _message_table(page: PageModel, messages: Iterable[Delivery], empty: str) -> Html:
    """Return messages as a table."""
    columns = ["Message", "Leg", "Call", "Attempt", "Answer", "Next", ""]
    rows = [_message(page, delivery) for delivery in messages]
    return html_table("Messages", columns, rows, empty=empty, classes="messages")


def _message(page: PageModel, delivery: Delivery) -> Html:
    this, what = delivery_id(delivery), delivery.what.replace("_", " ")
    label = f"Send {what} of leg {delivery.leg} again"
    return html_row(
        what,
        delivery.leg,
        call_link(page, delivery.call),
        ("asked" if delivery.ask else f"{delivery.tries} of {delivery.most_tries}", "number"),
        _answer(delivery),
        (_next(page, delivery), "number"),
        page.button("send_again", "Send again", label=label, delivery=this),
        mark=f"d-{this}",
    )


def _answer(delivery: Delivery) -> Html:
    status = delivery.status
    if status is not None:
        return chip("good", f"{status} taken") if delivery.taken else chip("bad", f"{status}")
    if delivery.failure:
        return chip("bad", delivery.failure)
    if delivery.arrived or delivery.ask:
        return chip("busy", "no answer yet")
    return chip("bad", "lost") if delivery.tries else chip("", "not sent yet")


def _next(page: PageModel, delivery: Delivery) -> str:
    done = page.options.webhooks.redeliver == "until_2xx" and delivery.taken
    if delivery.next_at is None or done:
        return "no more"
    return f"in {span(delivery.next_at - page.world.now)}"
