"""Draw the README's picture of the demo: ``python docs/demo_picture.py``.

``telecmi-async demo`` runs on a pseudo-terminal of 60 columns, and what its screen showed, and
when, becomes ``docs/images/demo-light.svg`` and ``demo-dark.svg``. The text is text. The pictures
move by CSS alone; for readers who prefer no motion they are the last screen.
"""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time
from itertools import groupby, pairwise
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias
from xml.sax.saxutils import escape

__all__ = ["Screen", "draw", "record", "text_of"]

DOCS: Final = Path(__file__).parent
IMAGES: Final = DOCS / "images"
COLUMNS: Final = 60

# A cell of the screen: a character, and the CSS classes of its style.
Cell: TypeAlias = tuple[str, str]
Line: TypeAlias = tuple[Cell, ...]

_STYLES: Final = {
    "1": "b", "2": "dim", "31": "red", "32": "green", "33": "yellow", "90": "dim", "91": "red",
    "92": "green", "93": "yellow",
}  # fmt: skip
_TOKEN: Final = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|([\r\n])|([^\x1b\r\n]+)")

# Seconds: between two screens of the picture, the longest it shows one, and how long the last one.
_STEP: Final = 0.4
_LONGEST: Final = 0.8
_LAST: Final = 6.0

_FONTS: Final = "ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace"
_SIZE: Final = 15
_CELL: Final = 9.0
_LINE: Final = 21
_LEFT: Final = 16
_TOP: Final = 44

_COLOURS: Final = {
    "light": {"ground": "#f6f8fa", "edge": "#d0d7de", "text": "#1f2328", "dim": "#59636e",
              "green": "#116329", "red": "#a40e26", "yellow": "#7d4e00"},
    "dark": {"ground": "#151b23", "edge": "#3d444d", "text": "#f0f6fc", "dim": "#9198a1",
             "green": "#57d364", "red": "#ff9492", "yellow": "#e3b341"},
}  # fmt: skip


class Screen:
    """What a terminal shows of the few escape codes that the demo writes."""

    def __init__(self) -> None:
        self._lines: list[list[Cell]] = [[]]
        self._row = self._column = 0
        self._style: tuple[str, ...] = ()

    def feed(self, text: str) -> None:
        """Write a text, which does not end within an escape code."""
        for found in _TOKEN.finditer(text):
            codes, command, control, letters = found.groups()
            if letters:
                self._write(letters)
            elif control == "\n":
                self._row += 1
                if self._row == len(self._lines):
                    self._lines.append([])
            elif control == "\r":
                self._column = 0
            elif command == "A":
                self._row = max(0, self._row - int(codes or 1))
            elif command == "K":
                del self._lines[self._row][0 if codes == "2" else self._column :]
            elif command == "m":
                self._dress(codes.split(";"))

    def _write(self, letters: str) -> None:
        line = self._lines[self._row]
        line += [(" ", "")] * (self._column - len(line))
        style = " ".join(self._style)
        line[self._column : self._column + len(letters)] = [(each, style) for each in letters]
        self._column += len(letters)

    def _dress(self, codes: list[str]) -> None:
        for code in codes:
            if code in {"", "0"}:
                self._style = ()
            elif code in _STYLES:
                self._style = (*self._style, _STYLES[code])
            else:
                raise ValueError(f"the picture has no style for code {code} of the terminal")

    def lines(self) -> tuple[Line, ...]:
        """Return the lines, without blanks at their ends."""
        found = [tuple(line) for line in self._lines]
        return tuple(_stripped(line) for line in found)


def _stripped(line: Line) -> Line:
    while line and line[-1][0] == " ":
        line = line[:-1]
    return line


class Shot(NamedTuple):
    """A screen, and when it came, in seconds from the first one."""

    at: float
    lines: tuple[Line, ...]


def record(*arguments: str) -> list[Shot]:
    """Run the demo on a pseudo-terminal; return its screens, the last one once it has ended."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, COLUMNS, 0, 0))
    environ = {key: value for key, value in os.environ.items() if key != "NO_COLOR"}
    command = [sys.executable, "-m", "telecmi_async", "demo", *arguments]
    process = subprocess.Popen(  # noqa: S603  # this package's own
        command,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**environ, "TERM": "xterm", "COLORTERM": "", "PYTHONUTF8": "1"},
    )
    os.close(slave)
    decoder, screen, began = codecs.getincrementaldecoder("utf-8")(), Screen(), time.monotonic()
    shots: list[Shot] = []
    held = ""
    while True:
        try:
            piece = os.read(master, 65_536)
        except OSError:  # Linux raises it at the end
            piece = b""
        if not piece:
            break
        held += decoder.decode(piece)
        # An escape code may be cut.
        end = held.rfind("\x1b")
        ready = (
            held if end < 0 or re.match(r"\x1b\[[0-9;?]*[A-Za-z]", held[end:]) else held[:end]
        )
        held = held[len(ready) :]
        screen.feed(ready)
        shots.append(Shot(time.monotonic() - began, screen.lines()))
    os.close(master)
    if process.wait() != 0:
        raise SystemExit("the demo failed:\n" + text_of(shots[-1].lines))
    return shots


def text_of(lines: tuple[Line, ...]) -> str:
    """Return the text of a screen."""
    return "\n".join("".join(letter for letter, _ in line) for line in lines).rstrip()


def _chosen(shots: list[Shot]) -> list[Shot]:
    """Return some of the screens, at the times of the picture: none is shown for long."""
    some: list[Shot] = []
    taken = -_STEP
    for shot, following in pairwise(shots):
        # What is drawn comes in pieces: a screen is whole if the next piece comes later.
        if following.at - shot.at > 0.03 and shot.at - taken >= _STEP:
            some.append(shot)
            taken = shot.at
    some.append(shots[-1])
    at, timed = 0.0, [Shot(0.0, some[0].lines)]
    for before, shot in pairwise(some):
        at += min(shot.at - before.at, _LONGEST)
        timed.append(Shot(at, shot.lines))
    return timed


class _Stretch(NamedTuple):
    row: int
    line: Line
    begin: float
    end: float | None  # None: to the last screen


def _stretches(shots: list[Shot]) -> list[_Stretch]:
    """Return each line with the time for which it stands unchanged in its row."""
    found: list[_Stretch] = []
    for row in range(max(len(shot.lines) for shot in shots)):
        rows = [(shot.at, shot.lines[row] if row < len(shot.lines) else ()) for shot in shots]
        runs = [(line, [at for at, _ in same]) for line, same in groupby(rows, lambda r: r[1])]
        for n, (line, times) in enumerate(runs):
            if line:
                end = runs[n + 1][1][0] if n + 1 < len(runs) else None
                found.append(_Stretch(row, line, times[0], end))
    return found


def draw(shots: list[Shot], scheme: str) -> str:
    """Return the picture of a run, in the colours for ``light`` or ``dark`` pages."""
    chosen = _chosen(shots)
    length = chosen[-1].at + _LAST
    stretches = _stretches(chosen)
    times = sorted({(each.begin, each.end) for each in stretches}, key=str)
    name = {span: f"t{n}" for n, span in enumerate(times)}
    colours = _COLOURS[scheme]
    width = 2 * _LEFT + COLUMNS * _CELL
    height = _TOP + _LINE * max(len(shot.lines) for shot in chosen)
    frames, rules = [], []
    for begin, end in times:
        this = name[begin, end]
        stops = [f"{100 * begin / length:.2f}%{{visibility:visible}}"]
        if begin:
            stops.insert(0, "0%{visibility:hidden}")
        if end is not None:
            stops.append(f"{100 * end / length:.2f}%{{visibility:hidden}}")
            rules.append(f".{this}{{visibility:hidden}}")
        frames.append(f"@keyframes {this}{{{''.join(stops)}}}")
        frames.append(f".{this}{{animation:{this} {length:.1f}s step-end infinite}}")
    style = [
        f"text{{font:{_SIZE}px {_FONTS};fill:{colours['text']};white-space:pre}}",
        ".b{font-weight:700}",
        *(f".{each}{{fill:{colours[each]}}}" for each in ("dim", "green", "red", "yellow")),
        *rules,
        # Without motion only the last screen is there.
        f"@media (prefers-reduced-motion:no-preference){{{''.join(frames)}}}",
    ]
    prompt = tuple(
        (each, "dim" if n < 2 else "") for n, each in enumerate("$ telecmi-async demo")
    )
    body = [_line(prompt, 28, "")]
    body += [
        _line(each.line, _TOP + _LINE * each.row + _SIZE, name[each.begin, each.end])
        for each in stretches
    ]
    last, lines = text_of(chosen[-1].lines), "\n".join(body)
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" \
viewBox="0 0 {width:g} {height:g}" role="img" aria-labelledby="title desc" xml:space="preserve">
<title id="title">The demo of telecmi_async in a terminal</title>
<desc id="desc">{escape(last)}</desc>
<style>{"".join(style)}</style>
<rect x=".5" y=".5" width="{width - 1:g}" height="{height - 1:g}" rx="8" \
fill="{colours["ground"]}" stroke="{colours["edge"]}"/>
{lines}
</svg>
"""


def _line(line: Line, y: float, name: str) -> str:
    """Return a line as text whose letters stand in their columns, whatever the font."""
    begin = next((n for n, (letter, _) in enumerate(line) if letter != " "), 0)
    kept = line[begin:]
    spans = [
        (style, "".join(letter for letter, _ in cells))
        for style, cells in groupby(kept, lambda cell: cell[1])
    ]
    said = "".join(
        f'<tspan class="{style}">{escape(text)}</tspan>' if style else escape(text)
        for style, text in spans
    )
    return (
        f'<text x="{_LEFT + _CELL * begin:g}" y="{y:g}" textLength="{_CELL * len(kept):g}"'
        + (f' class="{name}"' if name else "")
        + f">{said}</text>"
    )


if __name__ == "__main__":
    run = record(*sys.argv[1:])
    for each in _COLOURS:
        (IMAGES / f"demo-{each}.svg").write_text(draw(run, each), encoding="utf-8")
    sys.stdout.write(text_of(run[-1].lines) + "\n")
