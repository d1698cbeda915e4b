"""Page view of a streamed conversation: two lanes on a time line, its measures, its audio.

The drawing has no view box: places on the time line are percentages, so that it is as wide as
its room, and letters and lanes keep their size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from telecmi_async._internal.html import tag
from telecmi_async.simulator.page.elements import (
    fact_list,
    html_row,
    html_table,
    named,
)
from telecmi_async.simulator.page.talk_audio import TALK_PATH, is_over, kept_talk

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from telecmi_async._internal.html import Html
    from telecmi_async.simulator.call import SimulatedCall
    from telecmi_async.simulator.page.layout import PageModel
    from telecmi_async.simulator.voice.conversation import Conversation, TalkEvent

# Of a very long conversation the newest are shown.
_MOST_EVENTS: Final = 300
# Where things are, from the top, in pixels.
_CALLEE, _BARGE, _BOT, _LANE, _MARKS, _AXIS, _BOTTOM = 22, 61, 98, 34, 156, 174, 194
# The last label of the axis ends at its place, so that it is not cut off.
_NEAR_END: Final = 92.0
_STEPS: Final = (0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1_200, 3_600)
_MOST_STEPS: Final = 8
# A conversation longer than so many seconds is drawn wider than the window.
_WIDTHS: Final = ((600, "hours"), (150, "minutes"), (40, "long"))
_WORDS: Final = {
    "array": "actions",
    "bot": "bot heard",
    "callee": "callee said",
    "closed": "closed",
}
#: The shape of each mark's kind, around its place.
_SHAPES: Final = {
    "array": "M0 -6 L6 0 L0 6 L-6 0 Z",
    "break": "M-5 -5 H5 V5 H-5 Z",
    "fault": "M0 -6 L6 5 H-6 Z",
    "other": "M-4 0 A4 4 0 1 0 4 0 A4 4 0 1 0 -4 0 Z",
}
_KEYS: Final = (
    ("break", "break: the bot's queue is emptied"),
    ("array", "actions of the bot"),
    ("fault", "fault"),
    ("other", "another message"),
)


def talk_section(page: PageModel, call: SimulatedCall) -> Html | None:
    """Return the conversation of a call, or ``None`` if it was not streamed."""
    talk = call.heard
    if not talk.frames:
        return None
    events = talk.timeline
    shown = events[-_MOST_EVENTS:]
    left_out = len(events) - len(shown)
    return tag(
        "section",
        tag("div", tag("h2", "Conversation"), classes="head"),
        tag(
            "div",
            _drawing(talk, shown),
            classes="scroll talk",
            role="region",
            aria_label="Time line of the conversation",
            tabindex=0,
        ),
        _key(talk, shown),
        _audio(page, call),
        fact_list(_measures(talk)),
        tag("p", f"{left_out:,} before these", classes="more") if left_out else None,
        _table(shown),
        id="talk",
    )


# -- the drawing


def _drawing(talk: Conversation, events: Sequence[TalkEvent]) -> Html:
    length = talk.length
    wide = next((name for least, name in _WIDTHS if length > least), None)
    spoken = {who: [each for each in events if each.what == who] for who in ("callee", "bot")}
    barge_ins = [(each.at, each.at + each.delay) for each in talk.barge_ins]
    return tag(
        "svg",
        *_axis(length),
        *(
            _span(start, end, length, _CALLEE, _BOT + _LANE, "both")
            for start, end in _overlaps(spoken["callee"], spoken["bot"])
        ),
        *_lane("Callee said", spoken["callee"], length, _CALLEE, "callee"),
        *_lane("Bot heard", spoken["bot"], length, _BOT, "bot"),
        *(
            _span(each.at, each.at + each.seconds, length, _BOT, _BOT + _LANE, "gap")
            for each in talk.gaps[-_MOST_EVENTS:]
        ),
        *(
            _span(start, end, length, _BARGE, _BARGE + 8, "barge")
            for start, end in barge_ins[-_MOST_EVENTS:]
        ),
        *(_mark(each, length) for each in events if each.what not in _WORDS or each.what == "array"),
        role="img",
        aria_label=_summary(talk),
        classes=wide,
        width="100%",
        height=_BOTTOM,
    )  # fmt: skip


def _axis(length: float) -> Iterator[Html]:
    step = next((step for step in _STEPS if length / step <= _MOST_STEPS), _STEPS[-1])
    for n in range(int(length / step) + 1):
        place = 100 * n * step / length
        x = f"{place:.4g}%"
        anchor = "start" if not n else "end" if place > _NEAR_END else "middle"
        yield tag("line", classes="tick", x1=x, x2=x, y1=_CALLEE, y2=_AXIS)
        label = f"{n * step:g} s"
        yield tag("text", label, x=x, y=_BOTTOM - 4, text_anchor=anchor)


def _lane(
    label: str, spoken: Sequence[TalkEvent], length: float, top: int, kind: str
) -> Iterator[Html]:
    yield tag("text", label, x=0, y=top - 7, classes="lane")
    yield tag("rect", classes="track", x=0, y=top, width="100%", height=_LANE, rx=3)
    for each in spoken:
        words = f"{each.at:.2f} s to {each.until:.2f} s"
        yield _span(each.at, each.until, length, top, top + _LANE, kind, words)


def _span(
    start: float, end: float, length: float, top: int, bottom: int, kind: str, words: str = ""
) -> Html:
    """Return a bar from a time to another one."""
    return tag(
        "rect",
        tag("title", words) if words else None,
        classes=kind,
        x=f"{100 * start / length:.4g}%",
        width=f"{max(100 * (end - start) / length, 0.1):.4g}%",
        y=top,
        height=bottom - top,
        rx=3,
    )


def _mark(event: TalkEvent, length: float) -> Html:
    """Return a line at a message of the bot, or a fault, and its mark below the lanes."""
    x = f"{100 * event.at / length:.4g}%"
    kind = _kind(event)
    words = f"{event.at:.2f} s: {event.what} {named(event.detail)}".strip()
    return tag(
        "g",
        tag("title", words),
        tag("line", x1=x, x2=x, y1=_BOT, y2=_MARKS),
        tag("svg", tag("path", d=_SHAPES[kind]), x=x, y=_MARKS, overflow="visible"),
        classes=f"mark {kind}",
    )


def _kind(event: TalkEvent) -> str:
    return event.what if event.what in _SHAPES else "other"


def _overlaps(
    callee: Sequence[TalkEvent], bot: Sequence[TalkEvent]
) -> Iterator[tuple[float, float]]:
    """Yield when both spoke. Both are in order, and neither speaks twice at a time."""
    left, right = 0, 0
    while left < len(callee) and right < len(bot):
        one, other = callee[left], bot[right]
        start, end = max(one.at, other.at), min(one.until, other.until)
        if start < end:
            yield start, end
        if one.until < other.until:
            left += 1
        else:
            right += 1


def _summary(talk: Conversation) -> str:
    """Return the drawing in words; the table below has every part of it."""
    callee, bot = len(talk.callee.utterances), len(talk.bot.utterances)
    return (
        f"In {talk.length:.1f} s the callee spoke {_times(callee)} and the bot {_times(bot)}; "
        f"the callee interrupted {_times(len(talk.barge_ins))}."
    )


def _times(count: int) -> str:
    return {0: "never", 1: "once"}.get(count, f"{count} times")


def _key(talk: Conversation, events: Sequence[TalkEvent]) -> Html:
    """Return what colours and marks stand for, of those that are there."""
    swatches = [
        ("both", "both speak", talk.overlap > 0),
        ("barge", "until the bot is silent after an interruption", bool(talk.barge_ins)),
        ("gap", "gap: nothing to play", bool(talk.gaps)),
    ]
    found = {
        _kind(event) for event in events if event.what not in _WORDS or event.what == "array"
    }
    items = [
        (tag("rect", classes=kind, width=14, height=14, rx=3), None, words)
        for kind, words, there in swatches
        if there
    ] + [
        (tag("svg", tag("path", d=_SHAPES[kind]), x=7, y=7, overflow="visible"),
         f"mark {kind}", words)
        for kind, words in _KEYS
        if kind in found
    ]  # fmt: skip
    shown = [
        tag("li", tag("svg", picture, classes=classes, width=14, height=14, aria_hidden="true"),
            " ", words)
        for picture, classes, words in items
    ]  # fmt: skip
    return tag("ul", *shown, classes="key")


# -- beside it


def _audio(page: PageModel, call: SimulatedCall) -> Html:
    if not call.heard.keeps_audio:
        return tag("p", "The audio was not kept: keep_audio=False.", id="talk-audio")
    if kept_talk(page, call.request_id) is None:
        return tag("p", "It can be played once the stream is over.", id="talk-audio")
    # Another stream of the call gets another address, and so another player.
    streams = sum(note.what == "stream_connected" for note in call.timeline)
    address = f"{TALK_PATH.removeprefix('/')}?id={quote(call.request_id)}&n={streams}"
    player = tag("audio", controls=True, preload="metadata", src=address,
                 aria_label="The conversation: the callee on the left, the bot on the right")  # fmt: skip
    link = tag("a", "Download it as a WAV file", href=address, download="conversation.wav")
    words = tag("p", "The callee is on the left, the bot on the right. ", link, ".")
    return tag("div", player, words, id="talk-audio", classes="audio")


def _measures(talk: Conversation) -> list[tuple[str, str]]:
    first, gaps = talk.first_audio, talk.gaps
    delays = ", ".join(f"{each.delay:.2f} s" for each in talk.barge_ins[-3:])
    more = "… " if len(talk.barge_ins) > 3 else ""
    lost = sum(gap.seconds for gap in gaps)
    return [
        ("Length", f"{talk.length:.2f} s" + ("" if is_over(talk) else " so far")),
        ("Time to first audio", "none yet" if first is None else f"{first:.2f} s"),
        ("Bot's audio heard", f"{talk.seconds:.2f} s"),
        ("Bot silent after an interruption", f"{more}{delays}" or "not interrupted"),
        ("Both spoke", f"{talk.overlap:.2f} s"),
        ("Gaps", f"{len(gaps)}, {lost:.2f} s in all" if gaps else "none"),
    ]


def _table(events: Sequence[TalkEvent]) -> Html:
    rows = [
        html_row(
            (f"{event.at:.2f} s", "number"),
            (f"{event.until:.2f} s" if event.until > event.at else "", "number"),
            (_WORDS.get(event.what, event.what), "number"),
            named(event.detail),
        )
        for event in events
    ]
    columns = ["From", "To", "What", "Detail"]
    return html_table("Conversation", columns, rows, empty="Neither has spoken yet.")
