"""Lines of a conversation: its time line, as a terminal or a file shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from telecmi_async.cli.output.screen import encodable

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Iterable, Iterator, Mapping

    from telecmi_async.cli.output.terminal import Part, Terminal
    from telecmi_async.simulator import Conversation, TalkEvent

_LABEL: Final = 9
_NARROWEST: Final = 20
_WIDEST: Final = 100
_STEPS: Final = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600)
# Columns that the label of a time takes with some room.
_ROOM: Final = 8
# In place of a block and a dot where a terminal has no such letters.
_PLAIN: Final = str.maketrans("█·", "#.")
_STYLES: Final = {"callee": "yellow", "bot": "green"}


def lane_lines(
    terminal: Terminal, talk: Conversation, person: str
) -> Iterator[tuple[Part, ...]]:
    """Yield an axis, a lane for a person and one for the bot, and a line of its messages."""
    columns = max(_NARROWEST, min(terminal.width - 1, _WIDEST) - _LABEL)
    events = talk.timeline
    step = next((step for step in _STEPS if talk.length / step * _ROOM <= columns), _STEPS[-1])
    times = [n * step for n in range(int(talk.length // step) + 1)]
    per_second = columns / talk.length
    yield (" " * _LABEL + _placed(((at * per_second, f"{at} s") for at in times), columns),)
    for who in ("callee", "bot"):
        spoken = [(each.at, each.until) for each in events if each.what == who]
        lane = "".join(
            "█" if any(start <= at < end for start, end in spoken) else "·"
            for at in ((n + 0.5) / per_second for n in range(columns))
        )
        label = person if who == "callee" else who
        yield (f"{label:<{_LABEL}}", (_letters(lane, terminal), _STYLES[who]))
    marks = ((each.at * per_second, words) for each in events if (words := _words(each)))
    yield (" " * _LABEL + _placed(marks, columns),)


def _letters(lane: str, terminal: Terminal) -> str:
    return lane if encodable("█·", terminal.stdout) == "█·" else lane.translate(_PLAIN)


def _words(event: TalkEvent) -> str:
    """Return what the bot sent besides audio, in a word."""
    match event.what:
        case "bot" | "callee" | "closed":
            return ""
        case "array":
            return event.detail
        case _:
            return event.what


def _placed(words: Iterable[tuple[float, str]], columns: int) -> str:
    """Return words at their columns; what would not fit is moved to the left, or left out."""
    line = ""
    for at, word in words:
        start = min(int(at), columns - len(word))
        if not line or start > len(line):
            line = f"{line:<{start}}{word}"
    return line


def event_lines_of(
    talk: Conversation, person: str, said: Mapping[str, deque[str]]
) -> Iterator[tuple[float, str]]:
    """Yield the time and the line of each utterance and message.

    ``said`` has what the sides said, in order; it is used up.
    """
    for each in talk.timeline:
        spoken = said.get(each.what)
        words = spoken.popleft() if spoken else _meaning(each)
        label = person if each.what == "callee" else each.what
        yield each.at, moment_line(each.at, each.until, label, words)


def _meaning(event: TalkEvent) -> str:
    match event.what, event.detail:
        case "break", unheard:
            return f"the bot stops what it says: {unheard}"
        case "array", "hangup":
            return "hangup: the bot hangs up"
        case "array", "bridge":
            return "bridge: the bot transfers the call"
        case "closed", why:
            return f"the stream is closed {why}"
        case _:
            return event.detail


def moment_line(at: float, until: float, what: str, words: str) -> str:
    """Return a line of what happened at a time, or from a time to another."""
    span = f"to {until:5.2f}" if until > at else ""
    return f"  {at:5.2f} {span:<8} s  {what:<6}  {words}".rstrip()
