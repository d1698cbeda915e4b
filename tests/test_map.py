"""The pages about the code are correct: the map, its drawings, the reference, the glossary."""

from __future__ import annotations

import importlib
import re
import runpy
from pathlib import Path

import pytest

import telecmi_async

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
    "pacing",
    "pcmo",
    "service",
    "simulator",
    "testing",
]
# A public module: its names are used as `export.rows`.
MODULES = ["campaigns.contacts.export"]
# Public names in rooms that are otherwise private.
SINGLE = {"ConnectionLimits", "HttpResponse"}
DOCUMENTED = re.compile(
    r"^\.\. (?:auto|py:)(?:class|data|exception|function):: (?:[\w.]+\.)?(\w+)", re.MULTILINE
)
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
    assert f"](../images/{name})" in read("docs/explanation/architecture.md")


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


def test_the_reference_shows_what_is_public() -> None:
    """Every public name has an entry in the reference, and every entry is a public name."""
    documented = set(DOCUMENTED.findall(read("docs/reference/reference.md")))
    shown = set(telecmi_async.__all__).union(*map(names_in, FACES))
    exported = names_in("campaigns.contacts.export")
    members = re.search(
        r"contacts\.export\n   :members: (.*)", read("docs/reference/reference.md")
    )

    assert shown - documented == {"export"}
    assert documented - shown.union(SINGLE, *map(names_in, MODULES)) == set()
    assert members
    assert set(members.group(1).split(", ")) <= exported


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
