"""Architecture rules that no linter knows: layers of imports, and the size of modules."""

from __future__ import annotations

import ast
import importlib
import json
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import telecmi_async
from telecmi_async import calls, events, http_server, pacing, pcmo, service, testing, voice
from telecmi_async.events import store

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT = Path(__file__).parents[1]
PACKAGE = Path(telecmi_async.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
INSIDE = [module for module in MODULES if module != PACKAGE / "__init__.py"]
FACES = [module for module in MODULES if module.name == "__init__.py"]
PUBLIC_MODULES = [
    PACKAGE / f"{name}.py"
    for name in ("attempt", "errors", "campaigns/contacts/export", "notebook")
]
ROOMS = {module.relative_to(PACKAGE).parts[0].removesuffix(".py") for module in INSIDE}
TESTS = sorted((ROOT / "tests").rglob("*.py"))

# The package from bottom to top. A room is a folder or a module at the root; it imports rooms of
# the lines above its own only, type-only imports included, so rooms form no circle.
LAYERS: list[set[str]] = [
    {"attempt"},
    {"errors"},
    {"_internal"},
    {"observer", "phone"},
    {"http_server", "pcmo", "wire"},
    {"events", "pacing"},
    {"ledger"},
    {"calls"},
    {"service"},
    {"voice"},
    {"campaigns"},
    {"simulator", "telemetry"},
    {"cli", "notebook", "testing"},
    {"__main__"},
]
# Rooms that users of the core do not load: lower rooms may not import them, even in functions.
EDGES = {"__main__", "cli", "notebook", "simulator", "telemetry", "testing", "voice"}
# Each foreign library and the only files that may import it.
HOMES: dict[str, set[str]] = {
    "cattrs": {"pcmo"},
    "cyclopts": {"cli"},
    "h11": {"http_server"},
    "httptools": {"wire"},
    "httpx": {"simulator", "wire"},
    "matplotlib": {"notebook"},
    "numpy": {"voice"},
    "opentelemetry": {"cli", "telemetry"},
    "pandas": {"notebook"},
    "polars": {"notebook"},
    "prometheus_client": {"cli"},
    "psycopg": {"ledger"},
    "pytest": {"testing"},
    "pytest_asyncio": {"testing"},
    "redis": {"_internal"},
    "rich": {"cli"},
    "soundfile": {"voice"},
    "soxr": {"voice"},
    "tenacity": {"calls"},
    "trio": {"testing"},
    "websockets": {"simulator", "voice"},
}
RUNTIME = {"anyio", "attrs", "cattrs", "h11", "httptools", "httpx", "sniffio", "tenacity"}


def room_of(module: Path) -> str:
    """Return the room a file belongs to."""
    first = module.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def tree_of(path: Path) -> ast.Module:
    """Parse a file."""
    return ast.parse(path.read_text(encoding="utf-8"))


def statements(nodes: Iterable[ast.stmt], *, into_functions: bool) -> Iterator[ast.stmt]:
    """Yield the statements that run on import, and those in functions if asked to."""
    for node in nodes:
        yield node
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            yield from statements(node.orelse, into_functions=into_functions)
            continue
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not into_functions:
            continue
        for field in ("body", "orelse", "finalbody"):
            yield from statements(getattr(node, field, []), into_functions=into_functions)
        for part in (*getattr(node, "handlers", []), *getattr(node, "cases", [])):
            yield from statements(part.body, into_functions=into_functions)


def imports(module: Path, *, into_functions: bool = False) -> set[str]:
    """Return the full names of the modules that a file imports when it runs."""
    return named(module, statements(tree_of(module).body, into_functions=into_functions))


def named(module: Path, nodes: Iterable[ast.AST]) -> set[str]:
    """Return the full names of the modules that import statements of a file name."""
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module.name}:{node.lineno}: a relative import"
            assert node.module is not None
            below = PACKAGE.parent.joinpath(*node.module.split("."))
            for alias in node.names:
                is_module = (below / alias.name).is_dir() or (
                    below / f"{alias.name}.py"
                ).exists()
                found.add(f"{node.module}.{alias.name}" if is_module else node.module)
    return found


def rooms(module: Path) -> set[str]:
    """Return the other rooms that a file imports, for running or for types alone."""
    found: set[str] = set()
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "telecmi_async":
            found |= {f"telecmi_async.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    own = {name.split(".")[1] for name in found if name.startswith("telecmi_async.")}
    return {name if name in ROOMS else "__init__" for name in own} - {room_of(module)}


def ids(path: Path) -> str:
    """Name a file in a test's id."""
    base = PACKAGE if path.is_relative_to(PACKAGE) else ROOT
    return str(path.relative_to(base))


def test_the_root_stays_small() -> None:
    """At the root are the door, at most six modules, and at most seventeen rooms."""
    names = {module.relative_to(PACKAGE).parts for module in INSIDE}
    modules = {parts[0] for parts in names if len(parts) == 1} - {"__main__.py"}
    folders = {parts[0] for parts in names if len(parts) > 1}

    assert len(modules) <= 6
    assert len(folders) <= 17


def test_every_room_has_its_layer() -> None:
    """`LAYERS` lists exactly the rooms of the package."""
    assert set().union(*LAYERS) == {room_of(module) for module in MODULES} - {"__init__"}


@pytest.mark.source
@pytest.mark.parametrize("module", INSIDE, ids=ids)
def test_imports_go_down(module: Path) -> None:
    """A room imports lower rooms only, also for types and inside functions."""
    room = room_of(module)
    depth = next(n for n, layer in enumerate(LAYERS) if room in layer)

    # The package's face exports names of the core, so only rooms above the core may import it.
    face = {"__init__"} if room in EDGES else set[str]()
    assert rooms(module) <= set().union(face, *LAYERS[:depth])


def test_the_door_opens_no_edge() -> None:
    """The package's face does not import the simulator, the command line or the test tools."""
    assert rooms(PACKAGE / "__init__.py") & EDGES == set()


@pytest.mark.source
def test_modules_form_no_cycle() -> None:
    """Modules do not import each other in a cycle, type-only imports included."""
    names = {
        ".".join(
            ("telecmi_async", *module.relative_to(PACKAGE).with_suffix("").parts)
        ).removesuffix(".__init__"): module
        for module in MODULES
    }

    order = TopologicalSorter(
        {
            name: (named(module, ast.walk(tree_of(module))) & names.keys()) - {name}
            for name, module in names.items()
        }
    )

    order.prepare()


@pytest.mark.source
@pytest.mark.parametrize("module", MODULES, ids=ids)
def test_a_foreign_library_has_one_home(module: Path) -> None:
    """Each dependency is imported in one room only, also inside functions."""
    foreign = {name.split(".")[0] for name in imports(module, into_functions=True)}
    foreign -= sys.stdlib_module_names | {"telecmi_async"}

    assert {
        name for name in foreign if room_of(module) not in HOMES.get(name, {room_of(module)})
    } == set()
    assert foreign <= RUNTIME | HOMES.keys()


@pytest.mark.source
@pytest.mark.parametrize("module", MODULES, ids=ids)
def test_what_is_read_is_short(module: Path) -> None:
    """A module has at most 450 lines, and a function at most 60."""
    lines = len(module.read_text(encoding="utf-8").splitlines())
    functions = {
        node.name: (node.end_lineno or 0) - node.lineno + 1
        for node in ast.walk(tree_of(module))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }

    assert lines <= 450
    assert {name: length for name, length in functions.items() if length > 60} == {}


def public_names(module: Path) -> set[str]:
    """Return the names without an underscore that a module defines, constants included."""
    found: set[str] = set()
    for node in tree_of(module).body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                found.add(node.name)
            case ast.Assign():
                found |= {ast.unparse(target) for target in node.targets}
            case ast.AnnAssign():
                found.add(ast.unparse(node.target))
            case _:
                pass
    return {name for name in found if not name.startswith("_")}


@pytest.mark.parametrize("module", [*FACES, *PUBLIC_MODULES], ids=ids)
def test_what_is_public_is_listed(module: Path) -> None:
    """Each face and public module has a sorted `__all__` of names that exist."""
    name = ".".join(("telecmi_async", *module.relative_to(PACKAGE).with_suffix("").parts))
    loaded = importlib.import_module(name.removesuffix(".__init__"))
    listed = loaded.__all__

    assert list(listed) == sorted(listed, key=lambda name: (not name.isupper(), name))
    assert [name for name in listed if not hasattr(loaded, name)] == []
    assert module in FACES or public_names(module) == set(listed)


def test_every_name_means_one_thing() -> None:
    """No two modules define the same name; a face only re-exports names."""
    homes: dict[str, list[str]] = {}
    for module in INSIDE:
        if module.name != "__init__.py":
            names = public_names(module) - {"logger"}
            for name in names:
                homes.setdefault(name, []).append(ids(module))

    assert {name: found for name, found in homes.items() if len(found) > 1} == {}


@pytest.mark.parametrize("face", [face for face in FACES if face in INSIDE], ids=ids)
def test_a_face_shows_what_its_room_has(face: Path) -> None:
    """A room's face exports names of its own room and defines none."""
    given = {
        alias.name
        for node in ast.walk(tree_of(face))
        if isinstance(node, ast.ImportFrom) and node.module != "__future__"
        for alias in node.names
    }
    package = ".".join(("telecmi_async", *face.parent.relative_to(PACKAGE).parts))

    assert set(exported(face)) <= given
    # Only what makes a face lazy comes from elsewhere.
    assert {name for name in imports(face) if not name.startswith(package)} <= {
        "__future__", "telecmi_async._internal.public_names", "typing",
    }  # fmt: skip


def exported(module: Path) -> list[str]:
    """Return the names in a module's `__all__`."""
    return [
        name
        for node in tree_of(module).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        for name in ast.literal_eval(node.value)
    ]


def loaded_by(statement: str) -> set[str]:
    """Return the modules that a fresh process has loaded after a statement."""
    script = f"import sys, json; {statement}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        check=True,
        capture_output=True,
        text=True,
    )
    return set(json.loads(done.stdout))


def test_the_package_loads_only_what_it_needs() -> None:
    """All public names together load no optional dependency and none of the outer rooms."""
    loaded = loaded_by("from telecmi_async import *")

    assert {name.split(".")[0] for name in loaded} >= {"anyio", "attrs", "httpx"}
    assert {name.split(".")[0] for name in loaded} & {
        "IPython", "aiohttp", "h2", "hypothesis", "matplotlib", "nox", "numpy", "pandas",
        "polars", "psycopg", "pytest", "redis", "requests", "respx", "soundfile", "soxr", "trio",
        "websockets",
    } == set()  # fmt: skip
    assert {name for name in loaded if name.startswith("telecmi_async.")} & {
        f"telecmi_async.{edge}" for edge in EDGES
    } == set()


def test_importing_the_package_waits_for_nothing() -> None:
    """`import telecmi_async` alone loads no dependency and no other module of the package."""
    loaded = loaded_by("import telecmi_async")

    assert {name.split(".")[0] for name in loaded} & RUNTIME == set()
    assert {name for name in loaded if name.startswith("telecmi_async.")} == set()


LAZY: dict[str, dict[str, str]] = {
    face.__name__: face._MODULES
    for face in (
        telecmi_async,
        calls,
        events,
        http_server,
        pacing,
        pcmo,
        service,
        store,
        testing,
        voice,
    )
}


@pytest.mark.parametrize("package", LAZY)
def test_every_public_name_has_its_module(package: str) -> None:
    """A lazy face's type-only imports match its table at run time."""
    face = importlib.import_module(package)
    read = {
        alias.name: node.module or ""
        for block in tree_of(Path(face.__file__ or "")).body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }

    assert sorted(read) == sorted(face.__all__)
    for name, module in read.items():
        assert getattr(face, name) is getattr(importlib.import_module(module), name)
    assert set(face.__all__) <= set(dir(face))
    assert read == {
        name: f"{package}.{module}"
        for module, names in LAZY[package].items()
        for name in names.split()
    }


@pytest.mark.parametrize("package", LAZY)
def test_dir_shows_the_face(package: str) -> None:
    """`dir` lists the public names and nothing else, before and after they are used."""
    version = ["__version__"] if package == "telecmi_async" else []

    loaded_by(
        f"import {package} as face; fresh = dir(face); from {package} import *; "
        f"import telecmi_async.wire.own_client; [getattr(face, name) for name in fresh]; "
        f"assert fresh == dir(face) == sorted([*face.__all__, *{version}]), dir(face)"
    )


def test_a_name_waits_for_no_more_than_it_needs() -> None:
    """Flows, settings and receivers do not load the HTTP client."""
    loaded = loaded_by("from telecmi_async import Flow, RateLimit, Receiver, RetryPolicy")

    assert "httpx" not in loaded


def test_a_service_loads_neither_server_nor_receiver() -> None:
    """A service without events loads no server, receiver, template or Redis, and no processes."""
    loaded = loaded_by("from telecmi_async import CallService")

    assert "telecmi_async.service.service" in loaded
    assert (
        loaded
        & {
            "multiprocessing",
            "telecmi_async._internal.redis_server",
            "telecmi_async.events.receiver.receiver",
            "telecmi_async.http_server.connection",
            "telecmi_async.pcmo.template",
        }
        == set()
    )


def test_voice_loads_its_extra_when_it_is_needed() -> None:
    """Streams and their sessions load no library of the extra ``voice``."""
    loaded = loaded_by(
        "import telecmi_async.voice.asgi, telecmi_async.voice.session; "
        "from telecmi_async.voice import Resampler, Streams, decode; "
        "Streams('wss://example.com'); Resampler(8000, 8000)"
    )

    assert "telecmi_async.voice.streams" in loaded
    assert loaded & {"numpy", "soundfile", "soxr", "websockets"} == set()


def test_a_receiver_loads_no_server() -> None:
    """A receiver, which a web framework serves, loads no HTTP server, and no Redis store."""
    loaded = loaded_by("from telecmi_async import Receiver; Receiver('t' * 30)")

    assert "h11" not in loaded
    assert "telecmi_async.events.store.redis" not in loaded


def test_what_is_no_public_name_is_refused() -> None:
    """An unknown name raises AttributeError, as in any module."""
    with pytest.raises(AttributeError, match="module 'telecmi_async' has no attribute 'Phone'"):
        telecmi_async.Phone  # type: ignore[attr-defined]  # noqa: B018  # that is what is tested


@pytest.mark.source
@pytest.mark.parametrize("test", TESTS, ids=ids)
def test_every_test_says_what_must_hold(test: Path) -> None:
    """Each test function has a docstring."""
    silent = [
        node.name
        for node in ast.walk(tree_of(test))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not ast.get_docstring(node)
    ]

    assert silent == []


FILES = [
    path
    for folder in ("telecmi_async", "tests", "docs", "benchmarks", ".ci", "")
    for path in sorted((ROOT / folder).glob("**/*" if folder else "*"))
    if "_build" not in path.parts
    and (path.suffix in {".json", ".md", ".py", ".toml"} or path.name in {"LICENSE", "run"})
]
# A home folder, a package index, or a call to switch a check off without saying which and why.
UNWANTED = {
    "a path of one machine": re.compile(r"(?<![\w.])/(?:work|home|Users|root)/\w"),
    "a package index": re.compile(r"https?://[\w.-]*(?:pypi|pythonhosted|npmjs)\."),
    "an ignore without its code": re.compile(r"#\s*(?:type:\s*ignore(?!\[)|noqa(?!:))"),
    "an ignore without its reason": re.compile(
        r"#\s*(?:type:\s*ignore\[[\w, -]+\]|noqa:\s*[\w, ]+?|pragma: no \w+)\s*$", re.MULTILINE
    ),
    "a secret": re.compile(r"(?i)secret\W{1,6}[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}"),
}


@pytest.mark.source
@pytest.mark.parametrize("kind", UNWANTED)
def test_nothing_is_written_down_that_should_not_be(kind: str) -> None:
    """No file of the project holds secrets, machine paths, or unexplained exceptions."""
    found = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in FILES
        if path != Path(__file__)
        for match in UNWANTED[kind].finditer(path.read_text(encoding="utf-8"))
    ]

    assert found == []
