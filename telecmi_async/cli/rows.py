"""Labelled lines of a plan or a question, and what the operator alone may read in them."""

from __future__ import annotations

import json
import textwrap
from datetime import datetime
from typing import TYPE_CHECKING, Final, cast

from telecmi_async._internal.messages import mask, mask_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from telecmi_async.cli.output.terminal import Terminal

# What an action says or plays, by its key.
_SAID: Final = ("text", "file_name", "file_url", "action_url", "ws_url")
_CALLED: Final = ("connect", "call")
_NARROWEST: Final = 30


def is_private(terminal: Terminal) -> bool:
    """Return whether words are read on the operator's own terminal, and kept in no file."""
    return terminal.stderr.isatty()


def moment_words(at: float) -> str:
    """Return a moment by the clock of this machine."""
    return f"{datetime.fromtimestamp(at).astimezone():%Y-%m-%d %H:%M %Z}"


def number_for(terminal: Terminal, number: int | str) -> str:
    """Return a number as it may be shown: in full on the operator's own terminal."""
    return str(number) if is_private(terminal) else mask(number)


def say_row(terminal: Terminal, label: str, text: str, *, width: int = 10) -> None:
    """Say a text behind a label."""
    say_wrapped(terminal, f"  {label:<{width}} {text}", width + 3)


def say_wrapped(terminal: Terminal, text: str, indent: int) -> None:
    """Say a text, on a terminal in lines that end between words; all but the first are indented."""
    lines = [text]
    if is_private(terminal):
        lines = textwrap.wrap(
            text,
            max(terminal.width - 1, indent + _NARROWEST),
            subsequent_indent=" " * indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
    for line in lines:
        terminal.say(line)


def step_lines(terminal: Terminal, actions: Sequence[Mapping[str, object]]) -> Iterator[str]:
    """Yield each action with what it says, plays or connects to."""
    for action in actions:
        said = [json.dumps(action[key], ensure_ascii=False) for key in _SAID if key in action]
        words = " ".join([str(action.get("action")), *said])
        if not is_private(terminal):
            words = mask_in(words)
        called = [
            number_for(terminal, str(target.get("number", target.get("user"))))
            for key in _CALLED
            for target in cast("Sequence[Mapping[str, object]]", action.get(key, ()))
        ]
        yield f"{words} {', '.join(called)}".rstrip()
