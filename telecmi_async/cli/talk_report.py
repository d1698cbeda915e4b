"""Report of a demo's call: what a bot estimates, what was heard, and what went wrong."""

from __future__ import annotations

from collections import deque
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from attrs import frozen

from telecmi_async.cli.talk_lines import event_lines_of, lane_lines, moment_line
from telecmi_async.simulator import Conversation, Note
from telecmi_async.voice import Heard

if TYPE_CHECKING:
    from collections.abc import Iterator

    from telecmi_async.cli.output.terminal import Part, Terminal

_LATEST_FIRST: Final = 0.5
_LONGEST_BARGE_IN: Final = 0.5
_ESTIMATED_WITHIN: Final = 0.1
_FRAME: Final = 0.02
_LEGS: Final = {
    ("b", "ringing"): "the colleague's phone rings",
    ("b", "bridged"): "the colleague answers, and talks to the caller",
    ("b", "hangup"): "the colleague hangs up",
    ("a", "hangup"): "the call is over",
}
_ACTIONS: Final = {"hangup": "hang up", "bridge": "transfer the call"}


@frozen(kw_only=True)
class Plot:
    """How a call should go.

    Args:
        title: What happens, in a sentence without its full stop.
        person: Who talks to the bot: callee or caller.
        said: What that person does each time they speak.
        interruptions: How often they interrupt the bot.
        action: The action by which the bot ends its part.
    """

    title: str
    person: str
    said: tuple[str, ...]
    interruptions: int
    action: str


@frozen(kw_only=True)
class TalkReport:
    """What the bot estimates, and what the simulated person heard.

    Args:
        plot: How it should be.
        talk: What was heard.
        plays: What the bot said, by name, and its estimates of what was heard.
        notes: What happened in the call.
    """

    plot: Plot
    talk: Conversation
    plays: tuple[tuple[str, Heard], ...]
    notes: tuple[Note, ...]

    @property
    def truths(self) -> list[float]:
        """How long each thing that the bot said was heard, in seconds."""
        return [
            round(each.until - each.at, 2) for each in self.talk.timeline if each.what == "bot"
        ]

    @property
    def phones(self) -> list[tuple[float, str]]:
        """What phones did after the talk, at seconds since it began."""
        began = next((each.at for each in self.notes if each.what == "stream_connected"), 0.0)
        return [
            (round(each.at - began, 2), words)
            for each in self.notes
            if (words := _LEGS.get((each.leg, each.what))) and each.at > began
        ]

    def problems(self) -> list[str]:
        """Return what should not have happened, in words; an empty list if all is well."""
        plot, talk, truths = self.plot, self.talk, self.truths
        delays = [each.delay for each in talk.barge_ins]
        estimates = [heard.seconds for _, heard in self.plays]
        last = self.plays[-1][1] if self.plays else None
        happened = [words for _, words in self.phones]
        arrays = [each.detail for each in talk.timeline if each.what == "array"]
        checks = {
            "the bot was silent for too long at first": (
                talk.first_audio is None or talk.first_audio > _LATEST_FIRST
            ),
            f"the bot was interrupted {len(delays)} times, not {plot.interruptions}": (
                len(delays) != plot.interruptions
            ),
            f"the bot spoke too long over the {plot.person}": (
                max(delays, default=0) > _LONGEST_BARGE_IN
            ),
            "not all that the bot said was heard": len(truths) != len(estimates),
            "an estimate of what was heard is wrong": any(
                abs(one - other) > _ESTIMATED_WITHIN
                for one, other in zip(estimates, truths, strict=False)
            ),
            "the bot's last words were cut off": not (
                last and last.complete and truths[-1:] >= [last.offered - _FRAME]
            ),
            f"the bot did not {_ACTIONS[plot.action]}": arrays != [plot.action],
            "the colleague was not connected": (
                plot.action == "bridge" and _LEGS["b", "bridged"] not in happened
            ),
            "the call did not end": _LEGS["a", "hangup"] not in happened,
        }
        return [problem for problem, found in checks.items() if found]

    def as_json(self) -> dict[str, object]:
        """Return it for other programs; times are in seconds."""
        talk = self.talk
        return {
            "title": self.plot.title,
            "seconds": talk.length,
            "first_audio": talk.first_audio,
            "barge_ins": [{"at": each.at, "delay": each.delay} for each in talk.barge_ins],
            "overlap": talk.overlap,
            "plays": [
                {
                    "name": name,
                    "offered": heard.offered,
                    "estimate": round(heard.seconds, 3),
                    "heard": truth,
                    "interrupted": heard.interrupted,
                }
                for (name, heard), truth in zip(self.plays, self.truths, strict=False)
            ],
            "timeline": [
                {"at": each.at, "until": each.until, "what": each.what, "detail": each.detail}
                for each in talk.timeline
            ],
            "phones": [{"at": at, "what": words} for at, words in self.phones],
            "problems": self.problems(),
        }


def report_lines(terminal: Terminal, report: TalkReport) -> Iterator[tuple[Part, ...]]:
    """Yield the lines of a call: its title, its lanes, what happened, its measures, problems."""
    plot, talk = report.plot, report.talk
    yield ((f"{plot.title}.", "bold"),)
    yield ()
    yield from lane_lines(terminal, talk, plot.person)
    yield ()
    plays = deque(
        f"{name}: {truth:.2f} of {heard.offered:.2f} s heard, estimate {heard.seconds:.2f} s"
        for (name, heard), truth in zip(report.plays, report.truths, strict=False)
    )
    lines = [
        *event_lines_of(talk, plot.person, {"bot": plays, "callee": deque(plot.said)}),
        *((at, moment_line(at, at, "phone", words)) for at, words in report.phones),
    ]
    for _, line in sorted(lines, key=itemgetter(0)):
        yield (line,)
    first = "never" if talk.first_audio is None else f"{talk.first_audio:.2f} s"
    delays = "".join(
        f"; silent {each.delay:.2f} s after an interruption" for each in talk.barge_ins
    )
    yield (f"  time to first audio: {first}{delays}",)
    for problem in report.problems():
        yield ((f"  wrong: {problem}", "red"),)
