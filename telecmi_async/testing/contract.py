"""Contract checks: run each rule of a seam against an implementation, and report all that fail."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar, cast

import anyio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    Rule: TypeAlias = Callable[[Any], Awaitable[None]]

_T = TypeVar("_T")

# How long one rule may take, in seconds: an implementation that hangs breaks it.
_PATIENCE: Final = 60.0
# How long an event may take to reach a listener, in seconds.
_ARRIVAL: Final = 10.0


def expect(found: _T, right: _T, what: str) -> None:
    """Require that something is what the contract says.

    Raises:
        AssertionError: It is not.
    """
    if found != right:
        raise AssertionError(f"{what}: expected {right!r}, got {found!r}")


async def eventually(holds: Callable[[], bool], what: str) -> None:
    """Wait until something holds, but no longer than an event may take to arrive.

    Raises:
        AssertionError: It does not hold in time.
    """
    with anyio.move_on_after(_ARRIVAL):
        while not holds():  # noqa: ASYNC110  # the condition has no event to wait for
            await anyio.sleep(0.01)
    if not holds():
        raise AssertionError(f"{what} did not arrive within {_ARRIVAL:g} seconds")


def rules_in(module: Mapping[str, Any]) -> tuple[Rule, ...]:
    """Return the rules that a module defines, in their order: its async functions.

    Names that begin with ``check_`` or ``_`` are none.
    """
    return tuple(
        each
        for name, each in module.items()
        if inspect.iscoroutinefunction(each)
        and each.__module__ == module["__name__"]
        and not name.startswith(("check_", "_"))
    )


async def check_rules(
    seam: str, rules: Sequence[Rule], check: Callable[[Rule], Awaitable[None]]
) -> None:
    """Check each rule, and raise one error that names all that are broken.

    Raises:
        AssertionError: Rules are broken; their errors are its cause, in a group.
    """
    broken: list[str] = []
    errors: list[Exception] = []
    for rule in rules:
        try:
            with anyio.move_on_after(_PATIENCE) as scope:
                await check(rule)
            if scope.cancelled_caught:
                raise AssertionError(f"still running after {_PATIENCE:g} seconds")  # noqa: TRY301  # it is reported as the others are
        except Exception as error:  # noqa: BLE001  # any error is reported
            broken.append(f"- {inspect.getdoc(rule)} ({rule.__name__})\n  {_words(error)}")
            errors.append(error)
    if errors:
        raise AssertionError(
            f"this {seam} breaks {len(errors)} of {len(rules)} rules:\n" + "\n".join(broken)
        ) from ExceptionGroup(f"broken rules of {seam}", errors)


def _words(error: BaseException) -> str:
    """Return what to say of an error; of a group, which may hold a hundred, its first one."""
    if isinstance(error, BaseExceptionGroup):
        return _words(cast("BaseExceptionGroup[BaseException]", error).exceptions[0])
    return str(error) if isinstance(error, AssertionError) else f"it raised {error!r}"
