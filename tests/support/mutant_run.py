"""Mutation testing: change the rules one place at a time, and see that a test fails each time.

    python tests/support/mutant_run.py codec --sample 100 --seed 1

Not mutmut or cosmic-ray: the first leaves tables, constants and decorated functions alone, and the
second starts pytest anew for each mutant. Here each mutant is a forked process. The tests are
collected once, a mutant of a function replaces its code in place, and only the tests that call the
function run. What is evaluated at import (tables, defaults, constants) needs the tests collected
anew, with the mutated module.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import functools
import gc
import hashlib
import importlib
import importlib.machinery
import inspect
import os
import random
import signal
import sys
import threading
import time
import tomllib
import types
from collections import Counter, defaultdict
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest
from mutants import Mutant, Place, mutants_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

# What the tests import, so that no fork has to.
for each in ("anyio._backends._trio", "cattrs", "h11", "httpx", "tenacity"):
    importlib.import_module(each)

ROOT = Path(__file__).parents[2]
LEFT = ROOT / "tests" / "data" / "mutants_left.toml"
WANTED = 0.95
#: The modules that hold the rules, and the tests that hold the rules in place.
TESTS = {
    "calls.verdict": ["calls/test_verdict.py"],
    "calls.retry": ["calls/test_retry.py"],
    "campaigns.rules": ["campaigns/test_rules.py"],
    "campaigns.window": ["campaigns/test_rules.py"],
    "campaigns.zones": ["campaigns/test_zones.py", "campaigns/test_rules.py"],
    "events.fields": ["events/test_parse.py"],
    "events.reference": ["events/test_reference.py"],
    "events.receiver.tokens": ["events/receiver/test_tokens.py", "events/receiver/test_receiver.py", "events/receiver/test_handlers.py", "events/receiver/test_asgi.py"],
    "events.receiver.token_filter": ["events/receiver/test_tokens.py", "events/receiver/test_receiver.py", "events/receiver/test_handlers.py", "events/receiver/test_asgi.py"],
    "events.state": ["events/test_state.py"],
    "events.transitions": ["events/test_transitions.py", "events/test_state.py"],
    "ledger.states": ["ledger/test_states.py"],
    "pacing.circuit_breaker": ["pacing/test_circuit_breaker.py"],
    "pacing.gate": ["pacing/test_waiting.py", "pacing/test_gate.py"],
    "pacing.law": ["pacing/test_spacing.py", "pacing/test_shared_contract.py", "pacing/test_clocks.py"],
    "pacing.rate_limit": ["pacing/test_spacing.py", "pacing/test_gate.py"],
    "pacing.spacing": ["pacing/test_spacing.py", "pacing/test_gate.py", "pacing/test_rates.py"],
    "pacing.waiting_line": ["pacing/test_spacing.py", "pacing/test_waiting.py", "pacing/test_gate.py"],
    "pcmo.actions": ["pcmo/test_actions.py", "pcmo/test_codec.py", "pcmo/test_flow.py", "calls/test_request.py"],
    "pcmo.codec": ["pcmo/test_codec.py", "pcmo/test_actions.py", "pcmo/test_flow.py", "pcmo/test_template.py", "calls/test_request.py"],
    "pcmo.fields": ["pcmo/test_actions.py", "calls/test_request.py"],
    "pcmo.flow": ["pcmo/test_flow.py", "pcmo/test_codec.py"],
    "pcmo.targets": ["pcmo/test_actions.py", "pcmo/test_codec.py", "calls/test_request.py"],
    "pcmo.template": ["pcmo/test_template.py"],
    "phone.number": ["phone/test_number.py", "phone/test_plans.py"],
    "phone.plans": ["phone/test_plans.py", "phone/test_number.py"],
    "phone.region": ["phone/test_plans.py", "phone/test_number.py", "phone/test_entrances.py"],
    "phone.spelling": ["phone/test_number.py", "phone/test_entrances.py"],
}  # fmt: skip


class Run:
    """One module, its mutants, and what became of them."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.path = ROOT / "telecmi_async" / Path(*name.split(".")).with_suffix(".py")
        self.source = self.path.read_text(encoding="utf-8")
        self.tree = ast.parse(self.source)
        self.mutants = list(mutants_of(self.tree))
        self.names = list(self._names())
        self.chosen = list(range(len(self.mutants)))
        self.arguments = [str(ROOT / "tests" / each) for each in TESTS[name]]
        self.callers: dict[Place, set[pytest.Item]] = defaultdict(set)
        self.lasted: dict[pytest.Item, float] = {}
        self.took = 0.0
        #: The places of the tests as they are collected, the fastest test first.
        self.order: list[int] = []
        self.caches: list[functools._lru_cache_wrapper[object]] = []

    def _names(self) -> Iterator[tuple[str, str]]:
        """Yield how a list of mutants names each: its line's text, and the change."""
        lines, seen = self.source.splitlines(), Counter[tuple[str, str]]()
        for mutant in self.mutants:
            name = lines[mutant.line - 1].strip(), mutant.what
            seen[name] += 1
            yield name if seen[name] == 1 else (name[0], f"{name[1]} ({seen[name]})")

    def difference(self, mutant: Mutant) -> Iterator[str]:
        """Yield the lines that a mutant changes, before and after, as a diff does."""
        before = ast.unparse(self.tree).splitlines()
        with mutant.made():
            after = ast.unparse(self.tree).splitlines()
        lines = list(difflib.unified_diff(before, after, n=0, lineterm=""))[3:]
        texts = [line[1:].strip() for line in lines]
        pairs = enumerate(zip(*texts[:2], strict=False))
        start = max(0, next((at for at, pair in pairs if len(set(pair)) > 1), 0) - 60)
        for line, text in zip(lines, texts, strict=True):
            yield f"{line[0]} {'…' if start else ''}{text[start : start + 120]}"

    def code_of(self, mutant: Mutant) -> types.CodeType:
        """Return the code of the whole mutated module."""
        return mutant.compiled(self.tree, str(self.path))

    def run_pytest(self, *plugins: object) -> int:
        """Run the module's tests in this process."""
        options = ["-x", "-q", "--capture=no", "-p", "no:cacheprovider", "--no-header"]
        # pytest would load the package itself, to rewrite its assertions: it has a plugin.
        options += ["--assert=plain", "-o", "faulthandler_timeout=0"]
        # Other plugins would take most of the time that it takes to collect the tests.
        os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
        for plugin in ("anyio", "asyncio", "hypothesispytest"):
            options += ["-p", plugin]
        return pytest.main([*options, *self.arguments], plugins=[_Quick(self.order), *plugins])

    def survives(self, what: Callable[[], int], seconds: float) -> bool:
        """Run something in a fork; return whether it ended with 0, in time."""
        child = os.fork()
        if not child:
            os.setsid()
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 1)
            os.dup2(null, 2)
            status = 1
            with suppress(BaseException):
                status = what()
            os._exit(status)
        until = time.monotonic() + seconds
        while not (found := os.waitpid(child, os.WNOHANG))[0]:
            if time.monotonic() > until:
                os.killpg(child, signal.SIGKILL)
                found = os.waitpid(child, 0)
                break
            time.sleep(0.005)
        return found[1] == 0

    def anew(self, mutant: Mutant) -> int:
        """Collect and run the tests with the mutated module."""
        sys.meta_path.insert(0, _Finder(f"telecmi_async.{self.name}", self.code_of(mutant)))
        return self.run_pytest()

    # -- in a process that has collected the tests -------------------------------------------

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run all tests once, see which call what, then the mutants of functions."""
        path, now = str(self.path), time.monotonic()
        item: pytest.Item

        def note(frame: types.FrameType, event: str, _: object) -> None:
            code = frame.f_code
            if event == "call" and code.co_filename == path:
                self.callers[code.co_qualname.split(".<locals>")[0], code.co_firstlineno].add(
                    item
                )

        gc.unfreeze()
        self.caches = list(_caches())
        threading.setprofile(note)
        sys.setprofile(note)
        for item in session.items:
            self.clear_caches()
            began = time.monotonic()
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
            self.lasted[item] = time.monotonic() - began
        sys.setprofile(None)
        threading.setprofile(None)
        self.took = time.monotonic() - now
        if session.testsfailed:
            return True
        functions: dict[Place, list[types.FunctionType]] = defaultdict(list)
        for each in gc.get_objects():
            if isinstance(each, types.FunctionType) and each.__code__.co_filename == path:
                functions[each.__code__.co_qualname, each.__code__.co_firstlineno].append(each)
        gc.freeze()
        places = sorted(
            range(len(session.items)), key=lambda at: self.lasted[session.items[at]]
        )
        os.write(self.pipe, f"{','.join(map(str, places))} order\n".encode())
        for number in self.chosen:
            if word := self.in_place(self.mutants[number], session, functions):
                os.write(self.pipe, f"{number} {word}\n".encode())
        os.write(self.pipe, f"{self.took} seconds\n".encode())
        return True

    pipe = -1

    def in_place(
        self,
        mutant: Mutant,
        session: pytest.Session,
        functions: dict[Place, list[types.FunctionType]],
    ) -> str:
        """Replace a function; return whether that was killed, or survived, or was not enough."""
        place = mutant.function
        if place is None or not functions[place] or not self.callers[place]:
            return ""
        code = _find(self.code_of(mutant), place)
        if code is None or code.co_freevars != functions[place][0].__code__.co_freevars:
            return ""
        items = sorted(self.callers[place], key=self.lasted.__getitem__)
        # Under a profiler they lasted several times as long as they do now.
        seconds = 5 + 4 * sum(map(self.lasted.__getitem__, items))
        patched = functools.partial(self.patched, session, items, functions[place], code)
        if not self.survives(patched, seconds):
            return "killed"
        # A function that it made at import may be kept elsewhere, and is not replaced.
        inner = (each for each in code.co_consts if isinstance(each, types.CodeType))
        return "" if any(each.co_name[0] != "<" for each in inner) else "survived"

    def clear_caches(self) -> None:
        """Forget what functions of the package returned."""
        for cache in self.caches:
            cache.cache_clear()

    def patched(
        self,
        session: pytest.Session,
        items: list[pytest.Item],
        functions: list[types.FunctionType],
        code: types.CodeType,
    ) -> int:
        """Run tests with other code in a function; return 1 at the first that fails."""
        self.clear_caches()
        for function in functions:
            function.__code__ = code
        for item in items:
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
            if session.testsfailed:
                return 1
        return 0

    def results(self) -> Iterator[tuple[int, bool]]:
        """Yield the number of each chosen mutant, and whether it survived, once it is known."""
        reading, self.pipe = os.pipe()
        child = os.fork()
        if not child:
            status = 1
            with suppress(BaseException):
                null = os.open(os.devnull, os.O_WRONLY)
                if "MUTANTS_SHOW" not in os.environ:
                    os.dup2(null, 1)
                status = self.run_pytest(self)
            os._exit(status)
        os.close(self.pipe)
        decided, ended = set(), False
        with os.fdopen(reading) as lines:
            for value, word in map(str.split, lines):
                if word == "order":
                    self.order = list(map(int, value.split(",")))
                elif word != "seconds":
                    decided.add(int(value))
                    yield int(value), word == "survived"
                else:
                    self.took, ended = float(value), True
        os.waitpid(child, 0)
        if not ended:
            raise RuntimeError(
                f"{self.name}: its tests fail without a change; see MUTANTS_SHOW=1"
            )
        for number in self.chosen:
            if number not in decided:
                anew = functools.partial(self.anew, self.mutants[number])
                yield number, self.survives(anew, 10 + 4 * self.took)


class _Quick:
    """The fastest tests first; a failing example is enough, and is not made smaller."""

    def __init__(self, order: list[int]) -> None:
        self.order = order

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self) -> None:
        phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
        hypothesis.settings.register_profile(
            "mutants", hypothesis.settings(), phases=phases, derandomize=True, database=None
        )
        hypothesis.settings.load_profile("mutants")

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        if len(items) == len(self.order):
            items[:] = [items[at] for at in self.order]


class _Finder(importlib.machinery.SourceFileLoader):
    """Finds one module, and gives it other code."""

    def __init__(self, name: str, code: types.CodeType) -> None:
        super().__init__(name, code.co_filename)
        self.code = code

    def get_code(self, fullname: str) -> types.CodeType:
        return self.code

    def find_spec(self, name: str, *_: object) -> importlib.machinery.ModuleSpec | None:
        if name != self.name:
            return None
        return importlib.machinery.ModuleSpec(name, self, origin=self.path)


def _caches() -> Iterator[functools._lru_cache_wrapper[object]]:
    """Yield the caches of functions of the package."""
    package = str(ROOT / "telecmi_async")
    for each in gc.get_objects():
        if isinstance(each, functools._lru_cache_wrapper):
            code = getattr(inspect.unwrap(each), "__code__", None)
            if code and code.co_filename.startswith(package):
                yield each


def _find(code: types.CodeType, key: Place) -> types.CodeType | None:
    """Return the code of a function within a module's."""
    if (code.co_qualname, code.co_firstlineno) == key:
        return code
    inner = (_find(each, key) for each in code.co_consts if isinstance(each, types.CodeType))
    return next((each for each in inner if each), None)


class Memory:
    """Mutants that ended as they should in earlier runs, in a file: those of this very source."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._lines = set(file.read_text().splitlines()) if file and file.exists() else set()

    def has(self, run: Run, number: int) -> bool:
        """Return whether a mutant died before, or survived and is listed."""
        return self._line(run, number) in self._lines

    def add(self, run: Run, number: int) -> None:
        """Remember that a mutant died, or survived and is listed."""
        if self._file and (line := self._line(run, number)) not in self._lines:
            with self._file.open("a") as file:
                file.write(f"{line}\n")

    def _line(self, run: Run, number: int) -> str:
        name = "\n".join((run.source, *run.names[number]))
        return f"{run.name} {hashlib.sha256(name.encode()).hexdigest()[:32]}"


def modules_of(words: Iterable[str]) -> list[str]:
    """Return the modules that words name, by a whole name or by parts of one; all without."""
    names: list[str] = []
    for word in words:
        found = [name for name in TESTS if f".{word}." in f".{name}."]
        if not found:
            raise SystemExit(f"{word}: no module of {', '.join(TESTS)}")
        names += [name for name in found if name not in names]
    return names or list(TESTS)


def _print(text: str) -> None:
    print(text, flush=True)  # noqa: T201  # a command prints


def _score(run: Run, memory: Memory, known: set[tuple[str, str, str]]) -> tuple[int, int, int]:
    """Try a module's mutants; return how many died, count and were tried, and print the rest."""
    listed = {at for at, name in enumerate(run.names) if (run.name, *name) in known}
    before = {number for number in run.chosen if memory.has(run, number)}
    died, alike = before - listed, before & listed
    tried, run.chosen = len(run.chosen), [each for each in run.chosen if each not in before]
    for number, survived in run.results() if run.chosen else ():
        if survived is (number in listed):
            memory.add(run, number)
        if not survived:
            died.add(number)
        elif number in listed:
            alike.add(number)
        else:
            _print(f"    {run.mutants[number].line}: {run.names[number][1]}")
            for line in run.difference(run.mutants[number]):
                _print(f"      {line}")
    for number in sorted(died & listed):
        _print(f"    listed, but it dies: {' → '.join(run.names[number])}")
    return len(died), tried - len(alike), tried


def main() -> int:
    """Print the survivors and the score of each module; 1 if a score is too low."""
    parser = argparse.ArgumentParser(description="Run the tests of mutated rules.")
    parser.add_argument(
        "modules", nargs="*", metavar="MODULE", help="only these: codec, pcmo, calls.verdict"
    )
    parser.add_argument("--sample", type=int, help="try so many mutants of each module")
    parser.add_argument("--seed", default="1", help="chooses the sample")
    parser.add_argument(
        "--killed",
        type=Path,
        help="a file of those that died or are listed: the next run tries the others",
    )
    given = parser.parse_args()
    known = {
        (each["module"], each["line"], each["change"])
        for each in tomllib.loads(LEFT.read_text(encoding="utf-8")).get("mutant", ())
    }
    memory, poor, table = Memory(given.killed), [], []
    for name in modules_of(given.modules):
        began, run = time.monotonic(), Run(name)
        if given.sample and given.sample < len(run.chosen):
            chosen = random.Random(given.seed).sample(run.chosen, given.sample)
            run.chosen = sorted(chosen)
        _print(name)
        killed, counted, tried = _score(run, memory, known)
        score = killed / counted if counted else 1.0
        took = time.monotonic() - began
        table.append(
            f"{name:24} {killed:4} of {counted:4} {score:6.1%} {tried - counted:3} equivalent,"
            f" {tried} of {len(run.mutants)} tried, {took:4.0f} s"
        )
        _print(table[-1])
        if score < WANTED:
            poor.append(name)
    if table[1:]:
        _print("\n" + "\n".join(table))
    if poor:
        _print(f"below {WANTED:.0%}: {', '.join(poor)}")
    return 1 if poor else 0


if __name__ == "__main__":
    sys.exit(main())
