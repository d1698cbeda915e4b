"""Cancellation tests: cancel an operation at each of its suspension points in turn.

An operation can only be cancelled where it suspends. Such points are few, so a test can try all
of them: run the operation once for each, cancel it there, and check that nothing leaked.
"""

from __future__ import annotations

import asyncio
import inspect
import types
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

import anyio
import sniffio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Generator

_State = TypeVar("_State")


async def cancel_everywhere(
    operation: Callable[[_State], Coroutine[Any, Any, object]],
    *,
    setup: Callable[[], _State | Awaitable[_State]],
    check: Callable[[_State], Awaitable[None] | None],
    edge: bool = False,
    limit: int = 1000,
) -> int:
    """Run an operation repeatedly, cancelled at its first, second, third … await.

    It returns after the first run that ended before it could be cancelled. Every run has its
    own state. Only awaits of the operation's own task count; tasks that it starts are cancelled
    with it, at any point.

    Args:
        operation: The async function to cancel; its argument is the state.
        setup: Makes the state of one run; plain or async, never cancelled.
        check: Raises if a run left something behind; plain or async, never cancelled. It also
            runs after the last run, which was not cancelled.
        edge: Cancel once, as asyncio's ``task.cancel()`` does, so that clean-up may await. By
            default the operation stays cancelled, as in anyio and trio: every await of its
            clean-up is cancelled too unless it is shielded.
        limit: The highest number of points to try.

    Returns:
        The number of points at which the operation was cancelled.

    Raises:
        RuntimeError: It suspends more often than ``limit``, or ``edge`` is used on trio, which
            has no such cancellation.
        BaseException: Any error of the operation or the check, with a note that names the
            point.
    """
    if edge and sniffio.current_async_library() != "asyncio":
        raise RuntimeError("edge cancellation exists on asyncio only")
    for point in range(1, limit + 2):
        state = await _maybe_await(setup())
        try:
            cancelled = await (_cancel_once if edge else _cancel_scope)(operation(state), point)
            await _maybe_await(check(state))
        except BaseException as error:
            error.add_note(f"cancelled at suspension point {point}, if it came that far")
            raise
        if not cancelled:
            return point - 1
    raise RuntimeError(
        f"still running after {limit} suspension points; raise the limit if that is expected"
    )


async def _cancel_scope(operation: Coroutine[Any, Any, object], point: int) -> bool:
    """Cancel a scope at a point; return whether the operation reached it."""
    with anyio.CancelScope() as scope:
        await _counted(operation, point, scope.cancel)
    return scope.cancel_called


async def _cancel_once(operation: Coroutine[Any, Any, object], point: int) -> bool:
    """Cancel a task once at a point; return whether the operation reached it."""
    fired = False

    def cancel() -> None:
        nonlocal fired
        fired = True
        task.cancel()

    async def body() -> None:
        await _counted(operation, point, cancel)

    task = asyncio.create_task(body())
    # wait() does not raise the task's CancelledError, which would look like our own.
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()
    return fired


@types.coroutine
def _counted(
    operation: Coroutine[Any, Any, object], point: int, cancel: Callable[[], object]
) -> Generator[Any, Any, object]:
    """Drive a coroutine by hand, and cancel before its given suspension."""
    resume: Callable[[], Any] = partial(operation.send, None)
    suspensions = 0
    while True:
        try:
            trap = resume()
        except StopIteration as end:
            return end.value
        suspensions += 1
        if suspensions == point:
            cancel()
        try:
            value = yield trap
        except BaseException as error:  # noqa: BLE001  # passed on to the operation
            resume = partial(operation.throw, error)
        else:
            resume = partial(operation.send, value)


async def _maybe_await(value: _State | Awaitable[_State]) -> _State:
    """Return the result of a plain or an async function."""
    if inspect.isawaitable(value):
        return await cast("Awaitable[_State]", value)
    return value
