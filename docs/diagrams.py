"""Draw the diagrams of ``docs/explanation/architecture.md``: ``python docs/diagrams.py``.

``rooms.svg`` is drawn from the package: the order of the rooms is ``LAYERS`` in
``tests/test_architecture.py``, what a room imports is parsed from its files, and what it is for
is the first sentence of its docstring. ``call.svg`` and ``event.svg`` are drawn from the tables
of steps on the page itself. The same sources give the same bytes; a test compares them.
"""

from __future__ import annotations

import ast
import re
import textwrap
from functools import cache
from pathlib import Path
from xml.sax.saxutils import escape

__all__ = ["draw", "imports_of", "layers", "purpose_of", "steps_of"]

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


def draw() -> dict[str, str]:
    """Return all drawings by their file names."""
    return {
        "rooms.svg": draw_rooms(),
        "call.svg": draw_life("The life of one call", "The life of one call"),
        "event.svg": draw_life("The life of one event", "The life of one event"),
    }


def main() -> None:
    """Write the drawings that the page shows."""
    for name, drawing in draw().items():
        (DOCS / "images" / name).write_text(drawing, encoding="utf-8")


if __name__ == "__main__":
    main()
