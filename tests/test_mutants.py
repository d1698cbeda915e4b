"""Mutation testing: what counts as a mutant, and the list of those that are left."""

from __future__ import annotations

import ast
import tomllib

import pytest
from mutant_run import LEFT, ROOT, TESTS, Run
from mutants import mutants_of

pytestmark = pytest.mark.source

SOURCE = '''
"""A module."""
MOST = 4
WORD = re.compile('[a-z]{2,9}')

def rule(one: int, *, two: bool=True) -> str | None:
    """Return a word."""
    if one < MOST and (not two):
        return call('word', name=one)
    match one:
        case 1:
            one -= {1, MOST}
        case _:
            raise ValueError(f'not {one} of them')
    return None
'''
CHANGED = {
    "MOST = 5", "MOST = 3", "WORD = re.compile('[a-z]{2,9}~')", "WORD = re.compile('[a-z]{3,9}')",
    "WORD = re.compile('[a-z]{1,9}')", "WORD = re.compile('[a-z]{2,10}')",
    "WORD = re.compile('[a-z]{2,8}')", "def rule(one: int, *, two: bool=False) -> str | None:",
    "if one <= MOST and (not two):", "if one < MOST or not two:", "if not two:", "if one < MOST:",
    "if not (one < MOST and (not two)):", "if one < MOST and two:", "return call('word~', name=one)",
    "return call('word')", "case 2:", "case 0:", "one -= {2, MOST}", "one -= {0, MOST}", "one -= {1}", "one -= {MOST}", "pass",
    "return None",
}  # fmt: skip


def test_each_kind_of_change_is_made_and_taken_back() -> None:
    """Every mutant compiles, differs in its line from the source, and leaves it as it was."""
    tree = ast.parse(SOURCE)
    before = ast.unparse(tree)
    found: set[str] = set()

    for mutant in mutants_of(tree):
        code = mutant.compiled(tree, "rules.py")
        assert code.co_filename == "rules.py"
        assert ast.unparse(tree) == before
        with mutant.made():
            lines = ast.unparse(tree).splitlines()
        found |= {line.strip() for line in lines if line not in before.splitlines()}

    assert found == CHANGED


def test_a_mutant_of_a_body_names_its_function() -> None:
    """Constants and defaults are evaluated at import; all else belongs to the function."""
    places = {mutant.line: mutant.function for mutant in mutants_of(ast.parse(SOURCE))}

    assert places[3] is places[4] is places[6] is None
    assert places[8] == places[14] == ("rule", 6)


def test_the_modules_and_their_tests_exist() -> None:
    """Each module of the table has mutants, and each path of tests is there."""
    for name, paths in TESTS.items():
        assert Run(name).mutants
        assert [path for path in paths if not (ROOT / "tests" / path).is_file()] == []


def test_what_is_left_is_in_the_source_and_has_a_reason() -> None:
    """A listed mutant is one of its module, is listed once, and says why it is left."""
    left = tomllib.loads(LEFT.read_text(encoding="utf-8")).get("mutant", [])
    modules = {each["module"]: Run(each["module"]) for each in left}
    known = {(name, *each) for name, run in modules.items() for each in run.names}
    listed = [(each["module"], each["line"], each["change"]) for each in left]

    assert set(listed) <= known
    assert len(set(listed)) == len(listed)
    assert all(each["reason"] for each in left)
