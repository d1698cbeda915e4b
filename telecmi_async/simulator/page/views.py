"""What can be seen: all that is going on, one call, and the numbers that stand for something."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from telecmi_async._internal.messages import mask
from telecmi_async.simulator.callee import MAGIC
from telecmi_async.simulator.page.flow import steps_of, strip
from telecmi_async.simulator.page.frame import PageView, chip, html_table, section
from telecmi_async.simulator.page.markup import joined, tag
from telecmi_async.simulator.page.messages import messages
from telecmi_async.simulator.page.words import end_of_line, named, since, span

if TYPE_CHECKING:
    from collections.abc import Sequence

    from telecmi_async.simulator.call import SimulatedCall
    from telecmi_async.simulator.page.frame import Forms
    from telecmi_async.simulator.page.markup import Child, Html
    from telecmi_async.simulator.protocols import PageModel

__all__ = ["call_view", "gone", "numbers", "overview"]

_MOST_CALLS: Final = 50
_MOST_NOTES: Final = 300
_MINUTES: Final = (1, 5, 30)
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


def overview(simulator: PageModel, forms: Forms) -> PageView:
    """Return what is going on."""
    live = simulator.live
    now = {call.request_id for call in live}
    rest = [call for call in simulator.calls if call.request_id not in now]
    skips = [
        forms.button("advance", f"+{n} min", label=f"Let {n} min pass", minutes=n)
        for n in _MINUTES
    ]
    return PageView(
        title="Overview",
        place="./",
        body=joined(
            [
                _counts(simulator, len(live)),
                section(
                    "Calls now",
                    _calls("Calls now", live, simulator, "No call is going on."),
                    beside=tag("div", "Let time pass", *skips, classes="beside"),
                ),
                section(
                    "Other calls",
                    _calls("Other calls", rest, simulator, "None is over yet."),
                ),
            ]
        ),
    )


def _counts(simulator: PageModel, live: int) -> Html:
    waiting = sum(delivery.next_at is not None for delivery in simulator.deliveries)
    again = simulator.duplicates()
    counts = [
        ("Calls now", live, None),
        ("Requests", simulator.requests, None),
        ("Numbers dialled", simulator.numbers(), None),
        ("Dialled again", again, "alert" if again else None),
        ("Busiest second", simulator.busiest_second(), None),
        ("Messages to come", waiting, None),
    ]
    return tag(
        "dl",
        *(
            tag("div", tag("dt", says), tag("dd", f"{n:,}"), classes=classes)
            for says, n, classes in counts
        ),
        classes="counts",
    )


def _calls(
    caption: str, calls: Sequence[SimulatedCall], simulator: PageModel, empty: str
) -> Html:
    newest = calls[: -_MOST_CALLS - 1 : -1]
    rows = [
        tag(
            "tr",
            tag("td", _link(call)),
            tag("td", _stage(call)),
            tag("td", span(simulator.now - call.accepted), classes="number"),
            tag("td", strip(steps_of(call))),
            id=f"c-{call.request_id}",
        )
        for call in newest
    ]
    more = len(calls) - len(newest)
    return joined(
        [
            html_table(
                caption,
                ["To", "State", "Since", "Call flow"],
                rows,
                empty=empty,
                classes="calls",
            ),
            tag("p", f"and {more:,} older ones", classes="more") if more else None,
        ]
    )


def _link(call: SimulatedCall) -> Html:
    return tag("a", mask(call.to), href=f"call?id={quote(call.request_id)}", classes="digits")


def _stage(call: SimulatedCall) -> Html:
    return chip(_TONES.get(call.stage, ""), call.stage)


# -- one call


def call_view(simulator: PageModel, forms: Forms, call: SimulatedCall) -> PageView:
    """Return all there is to know of a call."""
    about = [one for one in simulator.deliveries if one.call is call]
    waits = call.waits_for
    return PageView(
        title=joined(["Call to ", tag("span", mask(call.to), classes="digits")]),
        place="",
        typing="press" in waits,
        body=joined(
            [
                _facts(simulator, call),
                _by_hand(forms, call, waits),
                tag(
                    "div",
                    section("Timeline", _timeline(call)),
                    section("Call flow", _flow(call)),
                    classes="pair",
                ),
                section("Legs", _legs(call)) if call.legs else None,
                section("Messages to your program", messages(simulator, forms, about)),
            ]
        ),
    )


def _facts(simulator: PageModel, call: SimulatedCall) -> Html:
    params = call.extra_params
    # Their names only: the values are the user's own.
    names = (
        "a text" if isinstance(params, str) else ", ".join(map(named, list(params or ())[:9]))
    )
    facts: list[tuple[str, Child]] = [
        ("State", _stage(call)),
        ("Accepted", f"{span(simulator.now - call.accepted)} ago"),
        ("From", tag("span", mask(call.from_), classes="digits")),
        ("Request id", tag("code", call.request_id)),
        ("Endpoint", call.region or "none: it came in"),
        ("Try for this number", call.attempt),
        ("Longest", span(call.duration) if call.duration else "not said"),
        ("Talked", f"{call.talk_seconds} s"),
        ("Extra params", names or "none"),
    ]
    pairs = [tag("div", tag("dt", says), tag("dd", fact)) for says, fact in facts]
    return tag("dl", *pairs, classes="facts")


def _by_hand(forms: Forms, call: SimulatedCall, waits: frozenset[str]) -> Html | None:
    if call.over or not call.legs:
        return None
    this = call.request_id
    keys = tag(
        "input", id="keys", name="keys", required=True, inputmode="numeric", maxlength=32,
        pattern="[0-9*#]+", size=8,
    )  # fmt: skip
    press = forms.form(
        "press", tag("label", "Keys", for_="keys"), keys, tag("button", "Press"), call=this
    )
    ways = {
        "answer": forms.button("answer", "Answer", call=this),
        "miss": forms.button("miss", "Let it ring in vain", call=this),
        "press": press,
        "hangup": forms.button("hangup", "Hang up", call=this),
    }
    shown = [
        tag("div", way, id=f"hand-{name}")
        for name, way in ways.items()
        if name in waits or name == "hangup"
    ]
    return section("By hand", tag("div", *shown, classes="hand"))


def _flow(call: SimulatedCall) -> Html:
    says: dict[str, Child] = {"done": "done", "now": chip("busy", "now"), "next": "to come"}
    steps = steps_of(call)[:_MOST_NOTES]
    rows = [
        tag(
            "tr",
            tag("td", n, classes="number"),
            tag("td", step.name),
            tag("td", step.detail),
            tag("td", says[step.state], classes="number"),
            classes=step.state,
        )
        for n, step in enumerate(steps, 1)
    ]
    return html_table(
        "Call flow", ["Step", "Action", "Detail", "State"], rows, empty="No action yet."
    )


def _timeline(call: SimulatedCall) -> Html:
    left_out = max(0, len(call.timeline) - _MOST_NOTES)
    rows = [
        tag(
            "tr",
            tag("td", since(note.at - call.accepted), classes="number"),
            tag("td", note.leg),
            tag("td", note.what.replace("_", " ")),
            tag("td", named(note.detail)),
            id=f"n-{n}",
        )
        for n, note in enumerate(call.timeline)
        if n >= left_out
    ]
    return joined(
        [
            tag("p", f"{left_out:,} before these", classes="more") if left_out else None,
            html_table(
                "Timeline",
                ["When", "Leg", "What", "Detail"],
                rows,
                empty="Nothing has happened yet.",
            ),
        ]
    )


def _legs(call: SimulatedCall) -> Html:
    rows = [
        tag(
            "tr",
            tag("td", leg.name),
            tag("td", end_of_line(leg.to), classes="digits"),
            tag("td", chip(_TONES.get(ending := leg.ending or "under way", "busy"), ending)),
            tag("td", f"{leg.talk_seconds} s", classes="number"),
            tag("td", "made" if leg.recorded else "to come"),
            tag("td", tag("code", leg.cmiuuid)),
        )
        for leg in call.legs
    ]
    return html_table("Legs", ["Leg", "To", "State", "Talked", "Record", "Id"], rows)


def gone() -> PageView:
    """Return what is said of a call that is not there."""
    return PageView(
        title="No such call",
        place="",
        status=404,
        body=tag("p", "It is over, and no longer among the newest; or it never was."),
    )


# -- numbers


def numbers(simulator: PageModel, _: Forms) -> PageView:
    """Return what the last four digits of a number stand for."""
    rows = [
        tag("tr", tag("td", f"…{digits}", classes="digits"), tag("td", magic.says))
        for digits, magic in MAGIC.items()
    ]
    off = tag("p", "They are switched off in this simulator: magic=False.", classes="note")
    return PageView(
        title="Magic numbers",
        place="numbers",
        body=joined(
            [
                None if simulator.magic else off,
                tag("p", "The last four digits of a number can choose what happens to a call."),
                html_table("Magic numbers", ["Number", "What happens"], rows),
            ]
        ),
    )
