"""The page of log lines has every line that the package can log, with its level, and no other."""

from __future__ import annotations

import ast
import re
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import pytest
from project_paths import ROOT, docs_page

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.source

PACKAGE = ROOT / "telecmi_async"

ROW = re.compile(r"^\| `([A-Z]+)` \| `([^`]+)` \|", re.MULTILINE)
FORMAT = re.compile(r"%[-\d.]*[a-z]")
LEVELS = {"exception": "ERROR", "log_failure": "ERROR", "_warn": "WARNING"}
METHODS = {"debug", "info", "warning", "error", "exception"}
# Lines of any level, and lines about one call: the page describes them in tables of their own.
BY_HAND = {"calls/log.py"}


class Line(NamedTuple):
    """A line that the package may log: where, its level, and its text with … for values."""

    place: str
    level: str
    text: str


ROWS = [
    Line("", *each)
    for each in ROW.findall(docs_page("log-lines.md").read_text(encoding="utf-8"))
]


def text_of(node: ast.expr, constants: dict[str, str]) -> str | None:
    """Return the text of a message, with … for its values; ``None`` if it is not written there."""
    match node:
        case ast.Constant(value=str(text)):
            return FORMAT.sub("…", text)
        case ast.Name(id=name) if name in constants:
            return constants[name]
        case ast.JoinedStr(values=parts):
            said = (each.value if isinstance(each, ast.Constant) else "…" for each in parts)
            return "".join(map(str, said))
    return None


def constants_of(tree: ast.Module) -> dict[str, str]:
    """Return the texts that a module names."""
    return {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    }


@cache
def trees() -> dict[str, ast.Module]:
    """Return the package's modules, parsed."""
    paths = sorted(PACKAGE.rglob("*.py"))
    return {
        path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
        for path in paths
    }


def logged() -> Iterator[Line]:
    """Iterate over the lines that the package logs."""
    for place, tree in trees().items():
        constants = constants_of(tree)
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or place in BY_HAND:
                continue
            match node.func:
                case ast.Attribute(value=ast.Name(id="logger"), attr=name) if name in METHODS:
                    message = node.args[0]
                case ast.Attribute(value=ast.Name(id="logger"), attr="log" as name):
                    message = node.args[1]
                case ast.Name(id="log_failure" as name):
                    message = node.args[1]
                case ast.Attribute(attr="_warn" as name):
                    message = node.args[0]
                case _:
                    continue
            text = text_of(message, constants)
            if text is not None and text.strip("…\n"):
                without_traceback = text.removesuffix("\n…")
                yield Line(place, LEVELS.get(name, name.upper()), without_traceback)


@cache
def lines() -> list[Line]:
    """Return each line that the package logs, once."""
    return sorted(set(logged()))


def matches(line: Line, row: Line) -> bool:
    """Return whether a row stands for a line, perhaps with more of its words."""
    pattern = ".+".join(re.escape(part) for part in line.text.split("…"))
    return line.level in {row.level, "LOG"} and bool(re.fullmatch(pattern, row.text, re.DOTALL))


@cache
def words() -> str:
    """Return all texts in the package's code."""
    return "\n".join(
        FORMAT.sub("…", node.value)
        for tree in trees().values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def test_the_page_has_each_line() -> None:
    """Each line that the package logs has a row with its level and its words."""
    found = lines()

    assert len(found) > 60
    assert [line for line in found if not any(matches(line, row) for row in ROWS)] == []


def test_the_package_logs_each_line() -> None:
    """Each row stands for a line, and all its words are in the package's code."""
    unknown = [
        part
        for row in ROWS
        for text in row.text.split("…")
        for part in text.split(": ")
        if part not in words()
    ]

    assert [row for row in ROWS if not any(matches(line, row) for line in lines())] == []
    assert unknown == []


def test_lines_are_found_however_they_are_written() -> None:
    """The search finds texts by their names, texts with values inside, and failures."""
    texts = {line.text for line in lines()}

    assert "a background task failed; others go on" in texts
    assert "call …: placing it failed" in texts
    assert "campaign … is …: …" in texts
