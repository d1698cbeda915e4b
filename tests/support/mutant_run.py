"""Mutation testing: change the rules one place at a time, and see that a test fails each time.

    python tests/support/mutant_run.py --module calls.verdict --sample 100 --seed 1

Not mutmut or cosmic-ray: the first leaves tables, constants and decorated functions alone, and the
second starts pytest anew for each mutant. Here each mutant is a forked process. The tests are
collected once, a mutant of a function replaces its code in place, and only the tests that call the
function run. What is evaluated at import (tables, defaults, constants) needs the tests collected
anew, with the mutated module.
"""

from __future__ import annotations

import argparse
import ast
import gc
import importlib.machinery
import os
import random
import signal
import sys
import threading
import time
import tomllib
import types
from collections import defaultdict
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest
from mutants import Mutant, Place, mutants_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]
LEFT = ROOT / "tests" / "data" / "mutants_left.toml"
WANTED = 0.95
#: The modules that hold the rules, and the tests that hold the rules in place.
TESTS = {
    "calls.verdict": ["calls/test_verdict.py"],
    "calls.retry": ["calls/test_retry.py", "service/test_late_imports.py"],
    "campaigns.rules": ["campaigns/test_rules.py"],
    "campaigns.window": ["campaigns/test_rules.py"],
    "campaigns.zones": ["campaigns/test_zones.py", "campaigns/test_rules.py"],
    "events.fields": ["events/test_parse.py"],
    "events.reference": ["events/test_reference.py"],
    "events.receiver.tokens": ["events/receiver/test_tokens.py", "events/receiver/test_receiver.py", "events/receiver/test_handlers.py", "events/receiver/test_asgi.py"],
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
        self.chosen = list(range(len(self.mutants)))
        self.arguments = [str(ROOT / "tests" / each) for each in TESTS[name]]
        self.callers: dict[Place, set[pytest.Item]] = defaultdict(set)
        self.lasted: dict[pytest.Item, float] = {}
        self.took = 60.0

    def text_of(self, mutant: Mutant) -> tuple[str, str]:
        """Return how a list of mutants names one: its line's text, and the change."""
        return self.source.splitlines()[mutant.line - 1].strip(), mutant.what

    def code_of(self, mutant: Mutant) -> types.CodeType:
        """Return the code of the whole mutated module."""
        return mutant.compiled(self.tree, str(self.path))

    def run_pytest(self, *plugins: object) -> int:
        """Run the module's tests in this process."""
        options = ["-x", "-q", "--capture=no", "-p", "no:cacheprovider", "--no-header"]
        # pytest would load the package itself, to rewrite its assertions: it has a plugin.
        options += ["--assert=plain"]
        return pytest.main([*options, *self.arguments], plugins=[_Quick(), *plugins])

    def survives(self, what: Callable[[], int]) -> bool:
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
        until = time.monotonic() + 10 + 8 * self.took
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

        threading.setprofile(note)
        sys.setprofile(note)
        for item in session.items:
            began = time.monotonic()
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
            self.lasted[item] = time.monotonic() - began
        sys.setprofile(None)
        threading.setprofile(None)
        self.took = time.monotonic() - now
        if session.testsfailed:
            return True
        gc.unfreeze()
        functions: dict[Place, list[types.FunctionType]] = defaultdict(list)
        for each in gc.get_objects():
            if isinstance(each, types.FunctionType) and each.__code__.co_filename == path:
                functions[each.__code__.co_qualname, each.__code__.co_firstlineno].append(each)
        gc.freeze()
        for number in self.chosen:
            if self.dies_in_place(self.mutants[number], session, functions):
                os.write(self.pipe, f"{number} killed\n".encode())
        os.write(self.pipe, f"{self.took} seconds\n".encode())
        return True

    pipe = -1

    def dies_in_place(
        self,
        mutant: Mutant,
        session: pytest.Session,
        functions: dict[Place, list[types.FunctionType]],
    ) -> bool:
        """Return whether a mutant is one of a function and fails with the function replaced."""
        place = mutant.function
        if place is None or not functions[place] or not self.callers[place]:
            return False
        code = _find(self.code_of(mutant), place)
        if code is None or code.co_freevars != functions[place][0].__code__.co_freevars:
            return False
        items = sorted(self.callers[place], key=self.lasted.__getitem__)
        return not self.survives(partial(_patched, session, items, functions[place], code))

    def results(self) -> Iterator[tuple[Mutant, bool]]:
        """Yield each chosen mutant, and whether it survived."""
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
        killed, ended = set(), False
        with os.fdopen(reading) as lines:
            for value, word in map(str.split, lines):
                if word == "killed":
                    killed.add(int(value))
                else:
                    self.took, ended = float(value), True
        os.waitpid(child, 0)
        if not ended:
            raise RuntimeError(
                f"{self.name}: its tests fail without a change; see MUTANTS_SHOW=1"
            )
        for number in self.chosen:
            # What a function returned may be in a cache, so a survivor has to survive anew.
            mutant = self.mutants[number]
            yield mutant, number not in killed and self.survives(partial(self.anew, mutant))


class _Quick:
    """A failing example is enough: it is not made smaller."""

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self) -> None:
        phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
        hypothesis.settings.register_profile(
            "mutants", hypothesis.settings(), phases=phases, derandomize=True, database=None
        )
        hypothesis.settings.load_profile("mutants")


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


def _find(code: types.CodeType, key: Place) -> types.CodeType | None:
    """Return the code of a function within a module's."""
    if (code.co_qualname, code.co_firstlineno) == key:
        return code
    inner = (_find(each, key) for each in code.co_consts if isinstance(each, types.CodeType))
    return next((each for each in inner if each), None)


def _patched(
    session: pytest.Session,
    items: list[pytest.Item],
    functions: list[types.FunctionType],
    code: types.CodeType,
) -> int:
    """Run tests with other code in a function; return 1 at the first that fails."""
    for function in functions:
        function.__code__ = code
    for item in items:
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
        if session.testsfailed:
            return 1
    return 0


def _print(text: str) -> None:
    print(text, flush=True)  # noqa: T201  # a command prints


def main() -> int:
    """Print the score of each module and its survivors; 1 if a score is too low."""
    parser = argparse.ArgumentParser(description="Run the tests of mutated rules.")
    parser.add_argument(
        "--module", action="append", choices=sorted(TESTS), help="only this one"
    )
    parser.add_argument("--sample", type=int, help="try so many mutants of each module")
    parser.add_argument("--seed", default="1", help="chooses the sample")
    given = parser.parse_args()
    known = {
        (each["module"], each["line"], each["change"])
        for each in tomllib.loads(LEFT.read_text(encoding="utf-8")).get("mutant", ())
    }
    poor = []
    for name in given.module or TESTS:
        began, run = time.monotonic(), Run(name)
        if given.sample and given.sample < len(run.chosen):
            chosen = random.Random(given.seed).sample(run.chosen, given.sample)
            run.chosen = sorted(chosen)
        tried, survivors = 0, []
        for mutant, survived in run.results():
            if (name, *run.text_of(mutant)) in known and survived:
                continue
            tried += 1
            if survived:
                survivors.append(mutant)
        killed = tried - len(survivors)
        score = killed / tried if tried else 0.0
        took = time.monotonic() - began
        _print(f"{name:24} {killed:4} of {tried:4} {score:6.1%} {took:6.0f} s")
        for mutant in sorted(survivors, key=lambda each: each.line):
            _print(f"    {mutant.line}: {' → '.join(run.text_of(mutant))}")
        if score < WANTED:
            poor.append(name)
    if poor:
        _print(f"below {WANTED:.0%}: {', '.join(poor)}")
    return 1 if poor else 0


if __name__ == "__main__":
    sys.exit(main())
