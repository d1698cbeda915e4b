"""Code in README and docs works: every Python block is run, on both event loops."""

from __future__ import annotations

import ast
import enum
import functools
import gc
import importlib
import inspect
import re
import textwrap
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from memory_ledger import MemoryLedger
from project_paths import api_pages

import telecmi_async
from telecmi_async import Receiver
from telecmi_async.events.receiver import new_token
from telecmi_async.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType

ROOT = Path(__file__).parents[1]
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]

# ```python … ``` as readers see it, followed by its output in a ```text block; or
# <!-- python … --> for code that the page needs and readers do not.
BLOCK = re.compile(
    r"^(?P<indent> *)```python\n(?P<shown>.*?)^(?P=indent)```$"
    r"(?:\n\n(?P=indent)```text\n(?P<printed>.*?)^(?P=indent)```$)?"
    r"|^<!-- python\n(?P<hidden>.*?)^-->$",
    re.MULTILINE | re.DOTALL,
)
# The part of a docstring that shows the use of what it documents.
EXAMPLE = re.compile(r"^Example:\n(?P<code>(?:^(?: .*)?\n)+)", re.MULTILINE)
# An entry of the reference; brackets hide the arguments of what users do not make.
ENTRY = re.compile(
    r"^\.\. (currentmodule|autoclass|autofunction):: ([\w.]+)(\(\))?", re.MULTILINE
)
# For people who implement a store, serve the simulator, or bring an event loop.
RARELY_MADE = {"ConnectionLimits", "LegState", "StoredEvent", "VirtualClockLoop"}
# The code of a page that needs servers or large packages is run by a test that the page names.
WITH_SERVERS = re.compile(r"<!-- with servers: (\S+) runs its code -->")
FENCE = re.compile(r"^ *```([^\n`]*)\n.*?^ *```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A code block of a page and its expected output."""

    code: CodeType
    printed: str | None


class InThisLoop(ast.NodeTransformer):
    """Makes a program's ``asyncio.run(main())`` an ``await main()``: here a loop runs already."""

    def visit_Expr(self, node: ast.Expr) -> ast.Expr:
        """Replace such a statement."""
        match node.value:
            case ast.Call(func=ast.Attribute(ast.Name("asyncio"), "run"), args=[main]):
                return ast.copy_location(ast.Expr(ast.Await(main)), node)
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        """Leave functions as they are."""
        return node


def blocks_of(page: Path) -> Iterator[Block]:
    """Compile a page's Python blocks so that a traceback names the page and its line."""
    text = page.read_text(encoding="utf-8")
    for match in BLOCK.finditer(text):
        kind = "hidden" if match["shown"] is None else "shown"
        above = "\n" * text.count("\n", 0, match.start(kind))
        source = above + textwrap.dedent(match[kind])
        program = ast.fix_missing_locations(InThisLoop().visit(ast.parse(source)))
        code = compile(program, str(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        yield Block(code, match["printed"] and textwrap.dedent(match["printed"]))


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Set up an account on the simulator for every service, and a folder for every file."""
    monkeypatch.chdir(tmp_path)
    simulator = Simulator(secret="your-secret")
    # A ledger's threads would make the virtual clock jump.
    ledgers = functools.cache(lambda _path: MemoryLedger())
    monkeypatch.setattr("telecmi_async.ledger.SqliteLedger", ledgers)
    monkeypatch.setattr("telecmi_async.ledger.PostgresLedger", ledgers)
    monkeypatch.setattr(
        "telecmi_async.wire.own_client.ConnectionPool", lambda _: simulator.transport()
    )
    for name, value in {
        "TELECMI_APP_ID": str(simulator.app_id),
        "TELECMI_SECRET": simulator.secret,
        "TELECMI_FROM": "19170000000",
        "TELECMI_WEBHOOK_TOKEN": "t" * 43,
    }.items():
        monkeypatch.setenv(name, value)


def pages_for(*, asyncio_only: bool) -> list[Path]:
    """Return the pages whose code runs here, for both event loops or for asyncio alone."""
    texts = {page: page.read_text(encoding="utf-8") for page in PAGES}
    return [
        page
        for page, text in texts.items()
        if any(blocks_of(page))
        and ("<!-- asyncio only" in text) is asyncio_only
        and not WITH_SERVERS.search(text)
    ]


async def run(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Run a page's blocks in one namespace, one after another, and compare what they print."""
    namespace: dict[str, object] = {"__name__": "__main__"}
    for block in blocks_of(page):
        outcome = eval(block.code, namespace)
        if inspect.isawaitable(outcome):
            await outcome
        printed = capsys.readouterr().out
        assert block.printed in {None, printed}
    namespace.clear()
    gc.collect()  # leaked resources of a page are reported here, not in another test


@pytest.mark.anyio
@pytest.mark.usefixtures("account", "logs_stay_as_they_are")
@pytest.mark.parametrize("page", pages_for(asyncio_only=False), ids=lambda page: page.name)
async def test_every_python_block_runs(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The code of every page runs unchanged and prints what the page shows."""
    await run(page, capsys)


@pytest.mark.anyio
@pytest.mark.usefixtures("account", "logs_stay_as_they_are")
@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
@pytest.mark.parametrize("page", pages_for(asyncio_only=True), ids=lambda page: page.name)
async def test_pages_about_asyncio_run(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The code of pages about asyncio runs unchanged on asyncio."""
    await run(page, capsys)


@pytest.mark.source
def test_code_that_needs_servers_is_run_elsewhere() -> None:
    """Each page that is left out here names a test that runs each of its sections."""
    named = {
        page.name: match[1]
        for page in PAGES
        if (match := WITH_SERVERS.search(page.read_text(encoding="utf-8")))
    }

    assert len(named) == 3
    for page, path in named.items():
        test = (ROOT / path).read_text(encoding="utf-8")
        assert f'PAGE = "{page}"' in test
        assert "sections_of(PAGE)" in test


@pytest.mark.source
def test_readme_on_a_package_index() -> None:
    """There README has no link that leads nowhere; in the repository each leads to a file."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    link = re.compile(r"\]\((?!https?:|#)([^)#\s]+)|(?:src|srcset)=\"([^\"]+)\"")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    hook = project["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]
    targets = [ROOT / (match[1] or match[2]) for match in link.finditer(readme)]

    shown = readme
    for each in hook["substitutions"]:
        shown = re.sub(each["pattern"], each["replacement"], shown)

    assert len(targets) > 15
    assert [path for path in targets if not path.exists()] == []
    assert link.findall(shown) == []
    assert "(https://doc.telecmi.com/piopiy/docs/)" in shown


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_code_goes_unchecked(page: Path) -> None:
    """Every fenced block names its language, so that no Python code is skipped."""
    kinds = {kind.split(" ")[0] for kind in FENCE.findall(page.read_text(encoding="utf-8"))}

    assert {kind for kind in kinds if not kind.startswith("{")} <= {
        "console", "json", "python", "sql", "text", "toml", "yaml",
    }  # fmt: skip


def documented() -> Iterator[tuple[str, object]]:
    """Yield what the reference documents: its name, with "()" if users do not make it."""
    for page in api_pages():
        module = "telecmi_async"
        for kind, name, unmade in ENTRY.findall(page.read_text(encoding="utf-8")):
            if kind == "currentmodule":
                module = name
                continue
            above, _, last = name.rpartition(".")
            yield last + unmade, getattr(importlib.import_module(above or module), last)


def examples() -> dict[str, CodeType]:
    """Compile the examples in docstrings of public classes and functions, by their names."""
    found: dict[str, CodeType] = {}
    for name, owner in documented():
        if match := EXAMPLE.search(f"{inspect.getdoc(owner)}\n"):
            code = textwrap.dedent(match["code"].partition("::\n")[2])
            flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
            found[name.removesuffix("()")] = compile(code, f"example of {name}", "exec", flags)
    return found


EXAMPLES = examples()


WAITING = sorted(
    name for name, code in EXAMPLES.items() if code.co_flags & inspect.CO_COROUTINE
)


def names_for_example(**more: object) -> dict[str, object]:
    """Return the names that the reference says examples take as imported; make their file."""
    Path("people.csv").write_text("phone,name\n+919876543210,Asha\n12,Bela\n", encoding="utf-8")
    return {**{name: getattr(telecmi_async, name) for name in telecmi_async.__all__}, **more}


@pytest.mark.anyio
@pytest.mark.usefixtures("account", "logs_stay_as_they_are")
@pytest.mark.parametrize("name", WAITING)
async def test_every_example_that_waits_runs(name: str) -> None:
    """The example of a class or function runs on both event loops, with an open service."""
    simulator = Simulator(secret="your-secret", life="immediate")
    async with simulator.service(from_=19170000000, events=Receiver(new_token())) as service:
        await eval(EXAMPLES[name], names_for_example(service=service))


@pytest.mark.usefixtures("account", "logs_stay_as_they_are")
@pytest.mark.parametrize("name", sorted(EXAMPLES.keys() - {*WAITING}))
def test_every_other_example_runs(name: str) -> None:
    """An example that awaits nothing runs outside an event loop."""
    eval(EXAMPLES[name], names_for_example())


def test_what_users_make_has_an_example() -> None:
    """Each class that the reference shows with its arguments has an example that runs."""
    made = {
        name
        for name, kind in documented()
        if isinstance(kind, type)
        and not name.endswith("()")
        and not issubclass(kind, enum.Enum | Exception)
    }

    assert len(made) > 30
    assert made - EXAMPLES.keys() == RARELY_MADE
