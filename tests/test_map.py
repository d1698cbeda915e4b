"""The pages about the code are correct: the map, its drawings, the reference, the glossary."""

from __future__ import annotations

import ast
import importlib
import re
import runpy
from pathlib import Path

import pytest
from project_paths import api_pages

import telecmi_async
from telecmi_async import CallStatus
from telecmi_async.events import Stage
from telecmi_async.ledger import MOVES, ContactState, Move

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PACKAGE = ROOT / "telecmi_async"
DIAGRAMS = runpy.run_path(str(DOCS / "diagrams.py"))
HOUSE = runpy.run_path(str(ROOT / "tests" / "test_architecture.py"))

# What docs/reference/stability.md calls public, in addition to the names of the package itself.
FACES = [
    "campaigns",
    "campaigns.contacts",
    "errors",
    "events",
    "events.receiver",
    "events.store",
    "ledger",
    "notebook",
    "observer",
    "pacing",
    "pcmo",
    "service",
    "simulator",
    "telemetry",
    "testing",
    "voice",
]
# A public module: its names are used as `export.rows`.
MODULES = ["campaigns.contacts.export"]
# Public names in rooms that are otherwise private.
SINGLE = {"ConnectionLimits", "HttpResponse"}
# Of a module whose library is too large for the everyday tests.
PIPECAT = set(
    ast.literal_eval(
        re.findall(
            r"^__all__ = (.*)$",
            (PACKAGE / "voice" / "pipecat.py").read_text(encoding="utf-8"),
            re.MULTILINE,
        )[0]
    )
)
# Of the pytest plugin, documented beside the test tools.
FIXTURES = {"call_service", "call_service_options", "telecmi_simulator", "telecmi_talk"}
DOCUMENTED = re.compile(
    r"^\.\. (?:auto|py:)(?:class|data|exception|function|type):: (?:[\w.]+\.)?(\w+)",
    re.MULTILINE,
)
# An alias on docs/reference/api/types.md, and what it stands for.
ALIAS = re.compile(r"^\.\. py:type:: (\w+)\n   :canonical: (.+)$", re.MULTILINE)
# A file or folder as pages name it: `calls/verdict.py`, `tests/service/`.
PATH = re.compile(r"`((?:[\w-]+/)*\w+\.(?:json|md|py|sql|svg|toml)|(?:[\w-]+/)+)`")


def read(page: str) -> str:
    """Return the text of a page."""
    return (ROOT / page).read_text(encoding="utf-8")


def names_in(module: str) -> set[str]:
    """Return the public names of a module."""
    return set(importlib.import_module(f"telecmi_async.{module}").__all__)


@pytest.mark.parametrize("name", DIAGRAMS["draw"]())
def test_the_drawings_are_up_to_date(name: str) -> None:
    """Each drawing matches what `python docs/diagrams.py` makes now."""
    drawn = DIAGRAMS["draw"]()[name]

    assert (DOCS / "images" / name).read_text(encoding="utf-8") == drawn
    shown = [
        page for page in DOCS.rglob("*.md") if f"/images/{name})" in page.read_text("utf-8")
    ]
    assert shown


def test_the_drawing_of_a_contact_shows_every_move_and_state() -> None:
    """The drawing is made from the table by which ledgers move contacts."""
    drawn = read("docs/images/contact.svg")
    shown = {
        move: (set(sources), target) for move, (sources, target) in DIAGRAMS["moves"]().items()
    }

    assert shown == {
        str(move): ({str(state) for state in sources}, str(target))
        for move, (sources, target) in MOVES.items()
    }
    for name in (*ContactState, *(move.replace("_", " ") for move in Move)):
        assert f">{name}</text>" in drawn
    assert drawn.count('class="also"') == sum(len(sources) for sources, _ in MOVES.values())


def test_the_drawing_of_a_call_shows_every_status_and_stage() -> None:
    """Nothing is left out but what stands before the first event, and rows that cannot be read."""
    names = re.findall(r'class="name"[^>]*>([a-z_, ]+)</text>', read("docs/images/status.svg"))
    shown = {name for each in names for name in each.split(", ")}

    assert shown == ({*CallStatus} | {*Stage}) - {CallStatus.INVALID, Stage.NEW}


def test_the_drawing_shows_the_rooms_in_their_order() -> None:
    """The drawing shows the rooms from top to bottom as the architecture test orders them."""
    shown = re.findall(
        r'y="([\d.]+)" [^>]* data-layer="(\d+)">(\w+)<', read("docs/images/rooms.svg")
    )
    layers = [{room for _, layer, room in shown if int(layer) == n} for n in range(len(shown))]
    downwards = sorted(shown, key=lambda each: float(each[0]))

    assert [layer for layer in layers if layer] == HOUSE["LAYERS"]
    assert [int(layer) for _, layer, _ in downwards] == sorted(
        (int(layer) for _, layer, _ in shown), reverse=True
    )


@pytest.mark.parametrize("heading", ["The life of one call", "The life of one event"])
def test_steps_are_numbered(heading: str) -> None:
    """Each table of steps is numbered without gaps, so that its drawing omits none."""
    section = (
        read("docs/explanation/architecture.md")
        .partition(f"\n## {heading}\n")[2]
        .partition("\n## ")[0]
    )
    numbers = re.findall(r"^\| (\d+) \|", section, re.MULTILINE)

    assert numbers == [str(n) for n in range(1, len(numbers) + 1)]
    assert len(DIAGRAMS["steps_of"](heading)) == len(numbers) > 5


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "docs/explanation/architecture.md"])
def test_files_that_are_named_exist(page: str) -> None:
    """Files that a page names exist in the project's folder or in the package's."""
    named = PATH.findall(read(page))

    assert len(named) > 10
    assert [
        path for path in named if not ((ROOT / path).exists() or (PACKAGE / path).exists())
    ] == []


def test_the_homes_of_libraries_are_those_of_the_code() -> None:
    """The table of foreign libraries names the rooms that may import each."""
    section = read("docs/explanation/architecture.md").partition("\n## Foreign libraries\n")[2]
    shown = {
        library: set(re.findall(r"`(\w+)(?:/|\.py)`", rooms))
        for library, rooms in re.findall(r"^\| (\w+) \| (`.*) \|$", section, re.MULTILINE)
    }

    assert shown == HOUSE["HOMES"]


def aliases_in_code() -> dict[str, str]:
    """Return what each type alias of the package stands for, as its module spells it."""
    found: dict[str, str] = {}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.AnnAssign(
                    target=ast.Name(name),
                    annotation=ast.Name("TypeAlias"),
                    value=ast.expr() as of,
                ):
                    text = of.value if isinstance(of, ast.Constant) else ast.unparse(of)
                    found[name] = str(text).replace("'", '"').replace("AnyAction", "Action")
    return found


def test_the_reference_shows_what_is_public() -> None:
    """Every public name has one entry in the reference, and every entry is a public name."""
    pages = "".join(page.read_text(encoding="utf-8") for page in api_pages())
    entries = DOCUMENTED.findall(pages)
    documented = set(entries)
    shown = set(telecmi_async.__all__).union(*map(names_in, FACES))
    exported = names_in("campaigns.contacts.export")
    members = re.search(r"contacts\.export\n   :members: (.*)", pages)

    assert len(entries) == len(documented)
    assert (shown | PIPECAT) - documented == {"export"}
    strangers = documented - shown.union(SINGLE, FIXTURES, PIPECAT, *map(names_in, MODULES))
    assert strangers <= aliases_in_code().keys() | {"Secret"}
    assert members
    assert set(members.group(1).split(", ")) <= exported


def test_the_reference_leads_to_its_pages() -> None:
    """The list of pages names each page of the reference, in the table and for the sidebar."""
    index = read("docs/reference/reference.md")

    for page in api_pages():
        assert f"](api/{page.name})" in index
        assert f"\napi/{page.stem}\n" in index


def test_aliases_are_those_of_the_code() -> None:
    """What the reference says an alias stands for is what it is."""
    shown = dict(ALIAS.findall(read("docs/reference/api/types.md")))
    code = aliases_in_code()

    assert len(shown) > 20
    assert shown == {name: code[name] for name in shown}


def test_what_is_public_is_said() -> None:
    """The page about stability names each public module."""
    page = read("docs/reference/stability.md")

    assert [face for face in FACES if f".{face}`" not in page] == []


def test_the_glossary_leads_on() -> None:
    """Entries are sorted, each links to another page, and two pages link to the glossary."""
    entries = re.split(r"^## ", read("docs/reference/glossary.md"), flags=re.MULTILINE)[1:]
    names = [entry.partition("\n")[0] for entry in entries]

    assert names == sorted(names, key=str.lower)
    assert [
        name for name, entry in zip(names, entries, strict=True) if ".md" not in entry
    ] == []
    for page in ("docs/index.md", "docs/explanation/architecture.md"):
        assert "glossary.md" in read(page)


@pytest.mark.parametrize("room", [room for layer in DIAGRAMS["layers"]() for room in layer])
def test_the_drawing_shows_what_a_room_imports(room: str) -> None:
    """The drawing lists the rooms that the architecture test finds."""
    modules = [path for path in HOUSE["INSIDE"] if HOUSE["room_of"](path) == room]
    found = set[str]().union(*map(HOUSE["rooms"], modules))

    assert DIAGRAMS["imports_of"](room) == found - {"__init__"}
