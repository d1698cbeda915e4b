"""Draw the diagrams of the documentation: ``python docs/diagrams.py``.

``rooms.svg`` is drawn from the package: the order of the rooms is ``LAYERS`` in
``tests/test_architecture.py``, what a room imports is parsed from its files, and what it is for
is the first sentence of its docstring. ``call.svg`` and ``event.svg`` are drawn from the tables
of steps in ``docs/explanation/architecture.md``, and ``contact.svg`` from the table of moves in
``telecmi_async/ledger/states.py``. ``status.svg`` and ``webhooks.svg`` are laid
out below. The same sources
give the same bytes; a test compares them.
"""

from __future__ import annotations

import ast
import re
import runpy
import textwrap
from functools import cache
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

__all__ = ["draw", "imports_of", "layers", "moves", "purpose_of", "steps_of"]

DOCS = Path(__file__).parent
ROOT = DOCS.parent
PACKAGE = ROOT / "telecmi_async"
PAGE = DOCS / "explanation" / "architecture.md"

# In units of the drawing. A phone shows it in 358 pixels, so nothing is set smaller than 11.
WIDTH = 380
MARGIN = 10
LINE = 15
GAP = 8
# A letter is at most so wide, in parts of the font's size, on average over a line.
LETTER = 0.56

STYLE = """
  .panel { fill: #f6f8fa; } .card { fill: #ffffff; stroke: #c4ccd4; }
  .name { fill: #1f2328; font-weight: 600; } .text { fill: #1f2328; } .more { fill: #59636e; }
  .layer { fill: #e3e9ef; }
  .lane { stroke: #d1d9e0; } .way { stroke: #0969da; fill: none; } .dot { fill: #0969da; }
  .number { fill: #ffffff; } .also { fill: #f6f8fa; stroke: #0969da; }
  @media (prefers-color-scheme: dark) {
    .panel { fill: #151b23; } .card { fill: #0d1117; stroke: #3d444d; }
    .name { fill: #f0f6fc; } .text { fill: #f0f6fc; } .more { fill: #9198a1; }
    .layer { fill: #21262d; }
  .lane { stroke: #3d444d; } .way { stroke: #4493f8; } .dot { fill: #4493f8; }
    .number { fill: #0d1117; } .also { fill: #151b23; stroke: #4493f8; }
  }
"""


# -- what is drawn


@cache
def layers() -> list[list[str]]:
    """Return the rooms from bottom to top, as the test of the architecture holds them."""
    source = (ROOT / "tests" / "test_architecture.py").read_text(encoding="utf-8")
    for node in ast.parse(source).body:
        match node:
            case ast.AnnAssign(target=ast.Name("LAYERS"), value=ast.List() as rooms):
                return [sorted(layer) for layer in ast.literal_eval(rooms)]
            case _:
                pass
    raise LookupError("tests/test_architecture.py has no LAYERS")


def files_of(room: str) -> list[Path]:
    """Return the modules of a room, which is a folder or a single module."""
    folder = PACKAGE / room
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [PACKAGE / f"{room}.py"]


@cache
def purpose_of(room: str) -> str:
    """Return the first sentence of a room's docstring."""
    folder = PACKAGE / room
    face = folder / "__init__.py" if folder.is_dir() else PACKAGE / f"{room}.py"
    text = ast.get_docstring(ast.parse(face.read_text(encoding="utf-8"))) or ""
    sentence = re.split(r"\.(?:\s|$)", " ".join(text.split()), maxsplit=1)[0]
    return sentence.replace("`", "")


@cache
def imports_of(room: str) -> set[str]:
    """Return the rooms that a room imports, inside functions and for types alone included."""
    names = set[str]()
    for path in files_of(room):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module == "telecmi_async":
                names |= {f"telecmi_async.{alias.name}" for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names.add(node.module or "")
    rooms = {room for layer in layers() for room in layer}
    ours = {name.split(".")[1] for name in names if name.startswith("telecmi_async.")}
    return (ours & rooms) - {room}


def room_of(module: str) -> str:
    """Return the room of a module that is named as the page does."""
    return module.split("/", maxsplit=1)[0].removesuffix(".py")


def steps_of(heading: str) -> list[tuple[str, list[str]]]:
    """Return the steps in the table below a heading of the page, each with its modules."""
    section = PAGE.read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2]
    rows = re.findall(
        r"^\| \d+ \| ([^|]+) \| [^|]+ \| ([^|]+) \|$",
        section.partition("\n## ")[0],
        re.MULTILINE,
    )
    return [(step, re.findall(r"`([\w/.]+)`", where)) for step, where in rows]


@cache
def moves() -> dict[str, tuple[list[str], str]]:
    """Return the moves of a contact: the states that each starts from, and the one it ends in."""
    module = runpy.run_path(str(PACKAGE / "ledger" / "states.py"))
    return {
        str(move): (sorted(map(str, sources)), str(target))
        for move, (sources, target) in module["MOVES"].items()
    }


def states() -> list[str]:
    """Return the states of a contact in the order of the code."""
    module = runpy.run_path(str(PACKAGE / "ledger" / "states.py"))
    return [str(state) for state in module["ContactState"]]


# -- how it is drawn


def text(x: float, y: float, words: str, kind: str, size: float, **more: object) -> str:
    """Return one line of text."""
    extra = "".join(f' {key.replace("_", "-")}="{value}"' for key, value in more.items())
    return f'<text x="{x:g}" y="{y:g}" class="{kind}" font-size="{size:g}"{extra}>{escape(words)}</text>'


def wrapped(words: str, width: float, size: float) -> list[str]:
    """Break a text into lines that fit a width."""
    return textwrap.wrap(words, int(width / (size * LETTER)), break_long_words=False)


def picture(title: str, height: float, parts: list[str]) -> str:
    """Return a whole drawing on a panel of its own, which is readable on any background."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" '
        f'width="{WIDTH * 1.25:g}" height="{height * 1.25:g}" role="img" '
        'font-family="system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif">'
    )
    panel = f'<rect class="panel" width="{WIDTH}" height="{height:g}" rx="8"/>'
    lines = [head, f"<title>{escape(title)}</title>", f"<style>{STYLE}</style>", panel]
    return "\n".join([*lines, *parts, "</svg>", ""])


def card(room: str, layer: int, x: float, y: float, width: float) -> tuple[list[str], float]:
    """Return the card of a room, without its frame, and its height."""
    inside = width - 2 * MARGIN
    order = [name for rooms in reversed(layers()) for name in rooms]
    below = sorted(imports_of(room), key=order.index)
    parts = [text(x + MARGIN, y + 20, room, "name", 14, data_layer=layer)]
    line = y + 20
    for words, kind, size in (
        (purpose_of(room), "text", 12),
        (f"imports {', '.join(below)}" if below else "imports no other room", "more", 11),
    ):
        line += 3
        for row in wrapped(words, inside, size):
            line += LINE
            parts.append(text(x + MARGIN, line, row, kind, size))
    return parts, line + MARGIN - y


def draw_row(rooms: list[str], layer: int, left: float, y: float) -> tuple[list[str], float]:
    """Draw rooms beside each other, all as high as the highest; return where they end."""
    width = (WIDTH - left - MARGIN - GAP * (len(rooms) - 1)) / len(rooms)
    places = [left + n * (width + GAP) for n in range(len(rooms))]
    cards = [card(room, layer, x, y, width) for room, x in zip(rooms, places, strict=True)]
    height = max(tall for _, tall in cards)
    parts: list[str] = []
    for x, (words, _) in zip(places, cards, strict=True):
        frame = f'x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="6"'
        parts += [f'<rect class="card" {frame}/>', *words]
    return parts, y + height


def draw_rooms() -> str:
    """Draw the rooms as a stack: what stands higher imports from what stands lower."""
    left = 36
    parts: list[str] = []
    top = y = MARGIN + 6.0
    for layer, rooms in reversed(list(enumerate(layers()))):
        began = y
        cards: list[str] = []
        # Three cards in a row would be too narrow to read: a layer may have several rows.
        for n in range(0, len(rooms), 2):
            row, y = draw_row(rooms[n : n + 2], layer, left, y)
            cards += row
            y += GAP
        if len(rooms) > 1:
            size = f'width="{WIDTH - left - MARGIN + 8}" height="{y - GAP - began + 8:g}"'
            parts.append(
                f'<rect class="layer" x="{left - 4}" y="{began - 4:g}" {size} rx="8"/>'
            )
        parts += cards
        y += 2
    bottom = y - GAP - 2
    middle = (top + bottom) / 2
    turn = f"rotate(-90 14 {middle:g})"
    parts += [
        f'<path class="way" d="M24 {top:g}V{bottom:g}m-5 -8l5 8l5 -8" stroke-width="1.5"/>',
        text(
            14, middle, "imports go down only", "more", 12, text_anchor="middle", transform=turn
        ),
    ]
    return picture("The rooms of telecmi_async, in their order", bottom + MARGIN + 6, parts)


def draw_life(title: str, heading: str) -> str:
    """Draw a way through the rooms: a lane for each room, and a row for each step."""
    steps = [
        (step, modules, list(dict.fromkeys(map(room_of, modules))))
        for step, modules in steps_of(heading)
    ]
    used = {room for _, _, rooms in steps for room in rooms}
    lanes = [room for layer in reversed(layers()) for room in layer if room in used]
    row, wide, head = 40, 200 / len(lanes), 78
    at = {room: MARGIN + 14 + wide * n for n, room in enumerate(lanes)}
    bottom = head + row * len(steps)
    parts = [
        f'<path class="lane" d="M{x:g} {head - 6}V{bottom - 8:g}" stroke-dasharray="2 3"/>'
        for x in at.values()
    ]
    parts += [
        text(x + 3, head - 12, room, "name", 12, transform=f"rotate(-50 {x + 3:g} {head - 12})")
        for room, x in at.items()
    ]
    points = [(at[rooms[0]], head + 16 + row * n) for n, (_, _, rooms) in enumerate(steps)]
    way = "L".join(f"{x:g} {y:g}" for x, y in points)
    parts.append(f'<path class="way" d="M{way}" stroke-width="2"/>')
    for n, ((step, modules, rooms), (x, y)) in enumerate(zip(steps, points, strict=True), 1):
        parts += [
            f'<circle class="also" cx="{at[room]:g}" cy="{y:g}" r="4.5" stroke-width="1.5"/>'
            for room in rooms[1:]
        ]
        parts.append(f'<circle class="dot" cx="{x:g}" cy="{y:g}" r="10"/>')
        parts.append(text(x, y + 4, str(n), "number", 11.5, text_anchor="middle"))
        parts.append(text(222, y - 1, step, "name", 12.5))
        parts.append(text(222, y + 13, modules[0].partition("/")[2], "more", 11))
    return picture(title, bottom + 4, parts)


def draw_moves() -> str:
    """Draw the moves of a contact: a lane for each state, and an arrow for each move."""
    lanes = states()
    row, left, head = 27, 126, 76
    wide = (WIDTH - left - 44) / (len(lanes) - 1)
    at = {state: left + wide * n for n, state in enumerate(lanes)}
    bottom = head + row * len(moves())
    parts = [
        f'<path class="lane" d="M{x:g} {head - 6}V{bottom - 4:g}" stroke-dasharray="2 3"/>'
        for x in at.values()
    ]
    parts += [
        text(
            x + 3, head - 12, state, "name", 12, transform=f"rotate(-50 {x + 3:g} {head - 12})"
        )
        for state, x in at.items()
    ]
    for n, (move, (sources, target)) in enumerate(moves().items()):
        y, end = head + 10 + row * n, at[target]
        parts.append(text(MARGIN, y + 4, move.replace("_", " "), "text", 12))
        places = [at[source] for source in sources]
        for side in (-1, 1):
            # Those on one side share a line: it begins at the farthest.
            from_here = [x for x in places if (x - end) * side > 0]
            if from_here:
                tip = end + side * 7
                far = max(from_here, key=lambda x: abs(x - end))
                parts.append(f'<path class="way" d="M{far:g} {y}H{tip:g}" stroke-width="2"/>')
                corners = (
                    f"{tip + side * 6:g} {y - 4.5} {end + side * 5:g} {y} {tip + side * 6:g}"
                )
                parts.append(f'<polygon class="dot" points="{corners} {y + 4.5}"/>')
        parts += [
            f'<circle class="also" cx="{x:g}" cy="{y}" r="4" stroke-width="1.5"/>'
            for x in places
        ]
        parts.append(f'<circle class="dot" cx="{end:g}" cy="{y}" r="4.5"/>')
    return picture("The states of a contact, and the moves between them", bottom + 8, parts)


class Box(NamedTuple):
    """A program or a store in a drawing: where it is, its name, and what it does."""

    x: float
    y: float
    width: float
    name: str
    does: str

    def draw(self) -> list[str]:
        """Return its frame and its words."""
        frame = f'x="{self.x:g}" y="{self.y:g}" width="{self.width:g}" height="42" rx="6"'
        middle = self.x + self.width / 2
        return [
            f'<rect class="card" {frame}/>',
            text(middle, self.y + 18, self.name, "name", 12.5, text_anchor="middle"),
            text(middle, self.y + 34, self.does, "more", 11, text_anchor="middle"),
        ]


def arrow(*points: tuple[float, float], words: str = "") -> list[str]:
    """Return an arrow through points, of which each is straight beside or below the one before."""
    (before_x, before_y), (x, y) = points[-2:]
    across, down = (x > before_x) - (x < before_x), (y > before_y) - (y < before_y)
    back_x, back_y = x - 8 * across, y - 8 * down
    corners = (
        f"{back_x - 4.5 * down:g} {back_y - 4.5 * across:g} {x:g} {y:g} "
        f"{back_x + 4.5 * down:g} {back_y + 4.5 * across:g}"
    )
    way = "L".join(
        f"{each_x:g} {each_y:g}" for each_x, each_y in (*points[:-1], (back_x, back_y))
    )
    parts = [
        f'<path class="way" d="M{way}" stroke-width="1.5"/>',
        f'<polygon class="dot" points="{corners}"/>',
    ]
    (first_x, first_y), (_, second_y) = points[:2]
    beside = text(first_x + 8, (first_y + second_y) / 2 + 4, words, "more", 11)
    return [*parts, beside] if words else parts


def draw_call() -> str:
    """Draw how a call goes on: the statuses of its handle, then the stages of its events."""
    left, right, half, step = 20.0, 200.0, 160, 68
    main = [
        ("queued", "waits for its turn"),
        ("sending", "the request is under way"),
        ("progress", "TeleCMI accepted it"),
        ("started", "an event arrived"),
        ("ringing", "the phone rings"),
        ("answered", "the callee answered"),
        ("bridged", "a second phone answered"),
        ("completed", "over, and was answered"),
    ]
    beside = {
        0: ("not_sent, cancelled", "no phone rang"),
        1: ("rejected", "no phone rang"),
        2: ("unknown", "a phone may have rung"),
        4: ("missed", "over, not answered"),
        7: ("hung_up", "over; its record is due"),
    }
    y = [44.0 + step * n + (24 if n > 2 else 0) for n in range(len(main))]
    middle, gap = left + half / 2, left + half
    parts = [
        text(left, 30, "By the reply: call.status", "name", 13),
        text(left, y[3] - 14, "By events: call.result.stage", "name", 13),
    ]
    for n, (name, does) in enumerate(main):
        parts += Box(left, y[n], half, name, does).draw()
        if n and n != 3:
            parts += arrow((middle, y[n - 1] + 42), (middle, y[n]))
    for n, (name, does) in beside.items():
        parts += Box(right, y[n], half, name, does).draw()
        ends = ((right, y[n] + 21), (gap, y[n] + 21))
        parts += arrow(*(ends if name in {"unknown", "hung_up"} else ends[::-1]))
    turn = y[1] + 42 + 13
    parts += arrow(
        (gap - 24, y[1] + 42), (gap - 24, turn), (right + 80, turn), (right + 80, y[2])
    )
    return picture("How a call goes on", y[-1] + 42 + MARGIN + 4, parts)


def draw_webhooks() -> str:
    """Draw which process receives webhooks: one, several workers, a campaign and a web app."""
    wide, half, left, right = WIDTH - 40, 162, 20.0, 198.0
    centre, at_left, at_right = WIDTH / 2, left + half / 2, right + half / 2
    parts = [
        text(20, 30, "One process", "name", 14),
        *Box(left, 42, wide, "TeleCMI", "sends events and records").draw(),
        *arrow((centre, 84), (centre, 110), words="webhook"),
        *Box(left, 110, wide, "Web app", "Receiver → CallService → handle").draw(),
        text(20, 190, "Several worker processes", "name", 14),
        *Box(left, 202, wide, "TeleCMI", "sends each webhook to any worker").draw(),
        *arrow((at_left, 244), (at_left, 270), words="webhook"),
        *Box(left, 270, half, "Worker A", "Receiver").draw(),
        *Box(right, 270, half, "Worker B", "its handle waits").draw(),
        *arrow((at_left, 312), (at_left, 338), words="stores"),
        *arrow((at_right, 338), (at_right, 312), words="finds"),
        *Box(left, 338, wide, "Redis", "RedisStore: one event store for all").draw(),
        text(20, 418, "Campaign and web app", "name", 14),
        *Box(left, 430, half, "TeleCMI", "sends webhooks").draw(),
        *arrow((at_left, 472), (at_left, 498), words="webhook"),
        *Box(left, 498, half, "Web app", "Receiver and Campaign").draw(),
        *Box(right, 498, half, "Workers", "dial, no receiver").draw(),
        *arrow((at_right, 498), (at_right, 451), (left + half, 451), words="requests"),
        *arrow((at_left, 540), (at_left, 566), words="records events"),
        *arrow((at_right, 540), (at_right, 566), words="claims, records"),
        *Box(left, 566, wide, "Ledger", "PostgreSQL, or SQLite on one machine").draw(),
    ]
    return picture("Which process receives TeleCMI's webhooks", 624, parts)


def draw() -> dict[str, str]:
    """Return all drawings by their file names."""
    return {
        "rooms.svg": draw_rooms(),
        "call.svg": draw_life("The life of one call", "The life of one call"),
        "event.svg": draw_life("The life of one event", "The life of one event"),
        "status.svg": draw_call(),
        "contact.svg": draw_moves(),
        "webhooks.svg": draw_webhooks(),
    }


def main() -> None:
    """Write the drawings that the pages show."""
    for name, drawing in draw().items():
        (DOCS / "images" / name).write_text(drawing, encoding="utf-8")


if __name__ == "__main__":
    main()
