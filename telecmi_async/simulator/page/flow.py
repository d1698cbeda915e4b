"""Call flow progress: which actions were done, are under way, or are to come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from attrs import frozen

from telecmi_async._internal.html import tag
from telecmi_async.simulator.page.labels import named

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from telecmi_async._internal.html import Html
    from telecmi_async.simulator.call import SimulatedCall

# As many steps as are shown before the one that is being done, and after it.
_BEFORE: Final = 2
_SHORT: Final = 6
_AFTER: Final = 3


@frozen
class FlowStep:
    """One action of a call flow; its detail shows neither texts nor URLs: they can hold secrets."""

    name: str
    detail: str
    state: Literal["done", "now", "next"]


def flow_steps(call: SimulatedCall) -> list[FlowStep]:
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
        FlowStep(named(name), details[n], "now" if n == last else "done")
        for n, name in enumerate(done)
    ]
    coming = first[len(done) :]
    return steps + [FlowStep(named(item["action"]), _detail(item), "next") for item in coming]


def _detail(action: Mapping[str, object]) -> str:
    match action:
        case {"action": "play" | "play_get_input", "file_name": str(name)}:
            return named(name)
        case {"action": "speak", "text": str(text)}:
            return f"{len(text)} letters"
        case _:
            return ""


def flow_strip(steps: Sequence[FlowStep]) -> Html:
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
