"""Cancel an operation everywhere it can be cancelled, and look at what it leaves behind.

An operation can only be cancelled where it suspends. There are few such points, so all of them
can be tried: run it once for each, cancel it there, and check that nothing leaked.
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

__all__ = ["cancel_everywhere"]

_State = TypeVar("_State")


async def cancel_everywhere(
    operation: Callable[[_State], Coroutine[Any, Any, object]],
    *,
    setup: Callable[[], _State | Awaitable[_State]],
    check: Callable[[_State], Awaitable[None] | None],
    edge: bool = False,
    limit: int = 1000,
) -> int:
    """Run an operation again and again, cancelled at its first, second, third … await.

    It ends with the first run that was over before it could be cancelled. Every run has
    a state of its own. The points counted are those where the operation's own task suspends;
    the tasks it starts are cancelled with it, wherever they are.

    Args:
        operation: The async function to cancel; it is given the state.
        setup: Makes the state of one run; plain or async, not cancelled.
        check: Raises if a run left something behind; plain or async, not cancelled. It is
            also called after the last run, which was not cancelled.
        edge: Cancel as asyncio's ``task.cancel()`` does: once, so that clean-up may await.
            The default is anyio's and trio's way: the operation stays cancelled, and every
            await of its clean-up that is not shielded is cancelled too.
        limit: The highest number of points to try.

    Returns:
        The number of points at which the operation was cancelled.

    Raises:
        RuntimeError: It suspends more often than ``limit``, or ``edge`` was asked for on
            trio, which does not know it.
        BaseException: What the operation or the check raised, with a note that says at
            which point.
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
        f"not over after {limit} suspension points; raise the limit if it is right"
    )


async def _cancel_scope(operation: Coroutine[Any, Any, object], point: int) -> bool:
    """Run it in a scope that is cancelled at a point; say whether it came to that."""
    with anyio.CancelScope() as scope:
        await _counted(operation, point, scope.cancel)
    return scope.cancel_called


async def _cancel_once(operation: Coroutine[Any, Any, object], point: int) -> bool:
    """Run it in a task that is cancelled once at a point; say whether it came to that."""
    fired = False

    def cancel() -> None:
        nonlocal fired
        fired = True
        task.cancel()

    async def body() -> None:
        await _counted(operation, point, cancel)

    task = asyncio.create_task(body())
    # wait() does not raise the task's CancelledError, so it cannot be taken for our own.
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()
    return fired


@types.coroutine
def _counted(
    operation: Coroutine[Any, Any, object], point: int, cancel: Callable[[], object]
) -> Generator[Any, Any, object]:
    """Drive a coroutine by hand, and cancel at its given suspension, before it suspends."""
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
        except BaseException as error:  # noqa: BLE001  # handed on to the operation
            resume = partial(operation.throw, error)
        else:
            resume = partial(operation.send, value)


async def _maybe_await(value: _State | Awaitable[_State]) -> _State:
    """Return what a plain function returned or an async one will."""
    if inspect.isawaitable(value):
        return await cast("Awaitable[_State]", value)
    return value
