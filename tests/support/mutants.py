"""Mutants: what may be changed in a module's source, one place at a time.

A comparison, an operator, a number, a word, a count in a pattern or a returned value becomes another one; a condition is
negated; a statement, a case, an operand or a keyword argument is left out. Messages, docstrings
and annotations stay. `mutant_run` sees whether a test fails.
"""

from __future__ import annotations

import ast
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

from attrs import frozen

if TYPE_CHECKING:
    import types
    from collections.abc import Iterator

#: A function, as its code object says: its qualified name and its first line.
Place: TypeAlias = tuple[str, int]

_SWAPS: dict[type[ast.AST], type[Any]] = {
    a: b
    for pair in (
        (ast.Lt, ast.LtE), (ast.Gt, ast.GtE), (ast.Eq, ast.NotEq), (ast.Is, ast.IsNot),
        (ast.In, ast.NotIn), (ast.Add, ast.Sub), (ast.Mult, ast.Div), (ast.And, ast.Or),
        (ast.BitOr, ast.BitAnd), (ast.Break, ast.Continue),
    )
    for a, b in (pair, pair[::-1])
} | {ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult, ast.Pow: ast.Mult}  # fmt: skip
# Read by type checkers and editors, or written for the reader.
_SKIPPED = {"annotation", "returns", "decorator_list", "type_comment", "ctx", "type_params"}
_COUNT = re.compile(r"(?<=[^$]\{)[0-9]+(?=(?:,[0-9]*)?\})|(?<=[0-9],)[0-9]+(?=\})")
_SKIPPED_NAMES = {"__slots__", "__all__", "TypeVar", "cast", "TYPE_CHECKING", "assert_never"}


@frozen
class Mutant:
    """One change: a field of a node gets another value."""

    line: int
    what: str
    parent: ast.AST
    field: str
    value: object
    #: The function it is in; none if it is evaluated at import.
    function: Place | None

    @contextmanager
    def made(self) -> Iterator[None]:
        """Change the tree, and take it back at the end."""
        before = getattr(self.parent, self.field)
        setattr(self.parent, self.field, self.value)
        try:
            yield
        finally:
            setattr(self.parent, self.field, before)

    def compiled(self, tree: ast.Module, path: str) -> types.CodeType:
        """Return the code of the module with this change."""
        with self.made():
            return compile(ast.fix_missing_locations(tree), path, "exec")


def mutants_of(tree: ast.Module) -> Iterator[Mutant]:
    """Yield each mutant of a module, from the top down."""
    yield from _within(tree, 1, "", None)


def _within(parent: ast.AST, line: int, scope: str, function: Place | None) -> Iterator[Mutant]:
    for field, value in ast.iter_fields(parent):
        if field in _SKIPPED or not isinstance(value, ast.AST | list):
            continue
        for place, node in enumerate(value if isinstance(value, list) else [value]):
            if not isinstance(node, ast.AST) or _is_for_readers(node):
                continue
            at = getattr(node, "lineno", line)
            for what, new in _changes(node, parent, field):
                one = [] if new is None else [new]
                whole = (
                    [*value[:place], *one, *value[place + 1 :]]
                    if isinstance(value, list)
                    else new
                )
                yield Mutant(at, what, parent, field, whole, function)
            inner, within = scope, function
            if isinstance(node, ast.ClassDef):
                inner = f"{scope}{node.name}."
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and function is None:
                first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
                # Defaults are evaluated at import, and what stands in the body at each call.
                yield from _within(node.args, at, scope, None)
                body = ast.Module(node.body, [])
                for each in _within(body, at, scope, (f"{scope}{node.name}", first)):
                    yield _in_body(each, body, node)
                continue
            yield from _within(node, at, inner, within)


def _in_body(mutant: Mutant, body: ast.Module, node: ast.AST) -> Mutant:
    """Return a mutant of a function's body as one of the function."""
    parent = node if mutant.parent is body else mutant.parent
    return Mutant(mutant.line, mutant.what, parent, mutant.field, mutant.value, mutant.function)


def _is_for_readers(node: ast.AST) -> bool:
    match node:
        case ast.Expr(ast.Constant()) | ast.Import() | ast.ImportFrom():
            return True
        case ast.If(ast.Name(id=name)) | ast.Expr(ast.Call(ast.Name(id=name))):
            return name in _SKIPPED_NAMES
        case ast.Assign([ast.Name(id=name)]) if name in _SKIPPED_NAMES:
            return True
        case ast.AnnAssign(annotation=ast.Name(id="TypeAlias")) | ast.JoinedStr() | ast.alias():
            return True
        case ast.Call(ast.Name(id="TypeVar")):
            return True
        case _:
            return False


def _is_type(parent: ast.AST) -> bool:
    """Return whether a node's text is a type, for type checkers."""
    return isinstance(parent, ast.Call) and ast.unparse(parent.func) in {
        "cast",
        "ParamSpec",
        "TypeVar",
    }


def _changes(  # noqa: C901, PLR0912  # a case for each kind of node
    node: ast.AST, parent: ast.AST, field: str
) -> Iterator[tuple[str, ast.AST | None]]:
    """Yield what a node may become, in words and as a node; none for a node to leave out."""
    match node:
        case ast.Constant(bool(value)):
            yield f"{value} becomes {not value}", ast.Constant(not value)
        case ast.Constant(int(value) | float(value)):
            yield f"{value} becomes {value + 1}", ast.Constant(value + 1)
            yield f"{value} becomes {value - 1}", ast.Constant(value - 1)
        case ast.Constant(str(value)) if value and " " not in value and not _is_type(parent):
            yield f"{value!r} becomes another text", ast.Constant(f"{value}~")
            for count in _COUNT.finditer(value):
                for other in (int(count[0]) + 1, int(count[0]) - 1):
                    pattern = f"{value[: count.start()]}{other}{value[count.end() :]}"
                    yield f"{{{count[0]}}} becomes {{{other}}}", ast.Constant(pattern)
        case ast.Compare(left, [*operators], right):
            for place, old in enumerate(operators):
                if new := _SWAPS.get(type(old)):
                    swapped = [*operators[:place], new(), *operators[place + 1 :]]
                    words = f"{type(old).__name__} becomes {new.__name__}"
                    yield words, ast.Compare(left, swapped, right)
        case ast.BoolOp(operator, values):
            swap = _SWAPS[type(operator)]
            yield (
                f"{type(operator).__name__} becomes {swap.__name__}",
                ast.BoolOp(swap(), values),
            )
            for place, left_out in enumerate(values):
                rest = [*values[:place], *values[place + 1 :]]
                yield (
                    f"without {ast.unparse(left_out)}",
                    ast.BoolOp(operator, rest) if rest[1:] else rest[0],
                )
        case ast.Set(members) if members[1:]:
            for place, left_out in enumerate(members):
                rest = [*members[:place], *members[place + 1 :]]
                yield f"without {ast.unparse(left_out)}", ast.Set(rest)
        case ast.UnaryOp(ast.Not() | ast.USub(), operand):
            yield f"{type(node.op).__name__} is left out", operand
        case ast.BinOp(left, operator, right) if new := _SWAPS.get(type(operator)):
            yield (
                f"{type(operator).__name__} becomes {new.__name__}",
                ast.BinOp(left, new(), right),
            )
        case ast.Return(value) if value and ast.unparse(value) not in {"None", "False"}:
            yield "returns None", ast.Return(ast.Constant(None))
        case ast.Break() | ast.Continue():
            yield "break and continue swapped", _SWAPS[type(node)]()
        case ast.Expr() | ast.AugAssign() | ast.Raise() | ast.Delete() | ast.Assert():
            yield "the statement is left out", ast.Pass()
        case ast.Assign([ast.Attribute() | ast.Subscript()]):
            yield "the statement is left out", ast.Pass()
        case ast.keyword(str(name)):
            yield f"without {name}=", None
        case ast.match_case() if isinstance(parent, ast.Match) and parent.cases[1:]:
            if "assert_never" not in ast.unparse(node):
                yield f"without case {ast.unparse(node.pattern)}", None
        case _:
            pass
    condition = isinstance(parent, ast.If | ast.While | ast.IfExp) and field == "test"
    if (condition or field in {"guard", "ifs"}) and isinstance(node, ast.expr):
        yield f"not {ast.unparse(node)}", ast.UnaryOp(ast.Not(), node)
