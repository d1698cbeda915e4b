"""A handle where frameworks expect a coroutine: tasks, groups, gather, background tasks."""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
import threading
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

import anyio
import pytest
import trio
from fake_telecmi import FLOW, TO, FakeTelecmi, always, gateway, refused
from starlette.background import BackgroundTask

from telecmi_async import (
    AuthenticationError,
    CallCancelled,
    CallOutcomeUnknown,
    CallPending,
    RetryPolicy,
    WrongEventLoop,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from telecmi_async import CallHandle, CallService


def place(service: CallService) -> CallHandle:
    """Place a call."""
    return service.make_call(to=TO, pcmo=FLOW)


async def by_create_task(handle: CallHandle) -> CallHandle:
    """Wait in a task made of the handle."""
    return await asyncio.create_task(handle)


async def by_task_group(handle: CallHandle) -> CallHandle:
    """Wait in a task of a group."""
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(handle, name="call")
    return task.result()


async def by_gather(handle: CallHandle) -> CallHandle:
    """Gather the handle with another coroutine."""
    return (await asyncio.gather(handle, asyncio.sleep(0)))[0]


async def by_wait_for(handle: CallHandle) -> CallHandle:
    """Wait with a limit."""
    return await asyncio.wait_for(handle, 60)


async def by_shield(handle: CallHandle) -> CallHandle:
    """Wait shielded."""
    return await asyncio.shield(handle)


async def by_as_completed(handle: CallHandle) -> CallHandle:
    """Wait for the first of several."""
    return await next(iter(asyncio.as_completed([handle])))


async def by_anyio(handle: CallHandle) -> CallHandle:
    """Wait in a task of an anyio group."""
    async with anyio.create_task_group() as tasks:
        started = tasks.create_task(handle)
    return started.return_value


async def by_thread(handle: CallHandle) -> CallHandle:
    """Wait from another thread."""
    loop = asyncio.get_running_loop()
    future = asyncio.run_coroutine_threadsafe(handle, loop)
    return await asyncio.wrap_future(future)


WAYS: list[Callable[[CallHandle], Coroutine[Any, Any, CallHandle]]] = [
    by_create_task,
    by_task_group,
    by_gather,
    by_wait_for,
    by_shield,
    by_as_completed,
    by_anyio,
    by_thread,
]


@pytest.mark.asyncio
@pytest.mark.parametrize("way", WAYS)
async def test_asyncio_takes_a_handle_for_a_coroutine(way: Any) -> None:
    """Each way gives the handle, raises its error, and may be repeated and mixed with awaits."""
    telecmi = FakeTelecmi(delay=1.0)
    async with telecmi.service() as service:
        handle = place(service)
        assert await way(handle) is handle
        assert await way(handle) is handle
        assert await handle is handle
        telecmi.script = always(lambda: refused(420))
        failed = place(service)
        errors: list[BaseException] = []
        for _ in range(2):
            try:
                await way(failed)
            except* AuthenticationError as group:
                errors += group.exceptions

    assert len(errors) == 2
    assert len(telecmi.requests) == 2


@pytest.mark.asyncio
@pytest.mark.parametrize("way", WAYS)
async def test_several_tasks_may_wait_side_by_side(way: Any) -> None:
    """Each task drives a wait of its own; a cancelled one disturbs neither the call nor others."""
    telecmi = FakeTelecmi(delay=1.0)
    async with telecmi.service() as service:
        handle = place(service)
        tasks = [asyncio.create_task(way(handle)) for _ in range(4)]
        await asyncio.sleep(0.5)
        tasks[1].cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)

    assert isinstance(results.pop(1), asyncio.CancelledError)
    assert results == [handle] * 3
    assert handle.accepted


@pytest.mark.asyncio
@pytest.mark.parametrize("steps", [0, 1])
async def test_cancelling_its_task_does_not_cancel_the_call(steps: int) -> None:
    """A task made of a handle is a waiter: cancelled before or after its first step."""
    telecmi = FakeTelecmi(delay=1.0)
    async with telecmi.service() as service:
        handle = place(service)
        task = asyncio.create_task(handle)
        for _ in range(steps):
            await asyncio.sleep(0)
        assert "CallHandle" in repr(task)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await handle

    assert telecmi.finished == 1


@pytest.mark.asyncio
async def test_a_task_that_is_dropped_leaves_no_wait_behind() -> None:
    """A wait whose task is gone is forgotten, and a handle never awaited warns of nothing."""
    async with FakeTelecmi(delay=1.0).service() as service:
        handle = place(service)
        task = asyncio.create_task(handle)
        await asyncio.sleep(0)
        assert len(handle._waits or ()) == 1
        await task
        assert len(handle._waits or ()) == 0
        place(service)
    del handle, task
    gc.collect()


@pytest.mark.anyio
async def test_it_is_a_coroutine_object_by_the_abc_alone() -> None:
    """It counts as a coroutine and an awaitable; `inspect.iscoroutine` is for Python's own."""
    async with FakeTelecmi().service() as service:
        handle: object = await place(service)

    assert asyncio.iscoroutine(handle)
    assert isinstance(handle, Coroutine)
    assert inspect.isawaitable(handle)
    assert not inspect.iscoroutine(handle)


@pytest.mark.anyio
async def test_it_can_be_driven_by_hand() -> None:
    """Send and throw go through one wait, close ends it, and a new one may follow."""
    async with FakeTelecmi(delay=1.0).service() as service:
        handle = place(service)
        handle.close()  # before any wait
        handle.send(None)
        with pytest.raises(ZeroDivisionError):
            handle.throw(ZeroDivisionError())
        handle.send(None)
        handle.close()
        await handle
        with pytest.raises(StopIteration) as caught:
            handle.send(None)

    assert caught.value.value is handle
    assert handle.accepted


@pytest.mark.anyio
async def test_a_group_starts_it_by_the_function_that_makes_it() -> None:
    """Anyio's start_soon takes a partial of make_call, and gets the call's own error."""
    telecmi = FakeTelecmi()
    async with telecmi.service() as service:
        call = functools.partial(service.make_call, to=TO, pcmo=FLOW)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call)
        telecmi.script = always(lambda: refused(420))
        with pytest.raises(ExceptionGroup) as caught:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(call)

    assert isinstance(caught.value.exceptions[0], AuthenticationError)
    assert len(telecmi.requests) == 2


@pytest.mark.real_clock
def test_a_nursery_starts_it_by_the_function_that_makes_it() -> None:
    """Trio takes a partial of make_call; the nursery's block ends when the call is settled."""
    telecmi = FakeTelecmi(delay=0.01)

    async def main() -> None:
        async with telecmi.service() as service:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(functools.partial(service.make_call, to=TO, pcmo=FLOW))
            assert telecmi.finished == 1

    trio.run(main)


@pytest.mark.anyio
async def test_what_is_no_use_of_it_places_nothing_more() -> None:
    """start_soon(make_call, number) and start_soon(handle) raise; the handle's call goes on."""
    telecmi = FakeTelecmi()
    async with telecmi.service() as service:
        with pytest.raises(ExceptionGroup) as wrong:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(service.make_call, TO, FLOW)  # type: ignore[arg-type]  # what it is about
        none = len(telecmi.requests)
        handle = place(service)
        with pytest.raises(ExceptionGroup) as called:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(handle)  # type: ignore[arg-type]  # what it is about
        await handle

    for caught in (wrong, called):
        assert isinstance(caught.value.exceptions[0], TypeError)
    assert none == 0
    assert len(telecmi.requests) == 1


@pytest.mark.real_clock
@pytest.mark.anyio
async def test_a_background_task_of_a_web_framework_is_refused_before_a_call() -> None:
    """Starlette and FastAPI run a plain function in a thread, where no event loop runs."""
    telecmi = FakeTelecmi()
    async with telecmi.service() as service:
        task = BackgroundTask(service.make_call, to=TO, pcmo=FLOW)
        with pytest.raises(WrongEventLoop, match="call this from an async function"):
            await task()

    assert telecmi.requests == []


@pytest.mark.real_clock
def test_a_handle_run_in_another_loop_says_so() -> None:
    """asyncio.run(handle) in a second loop raises instead of waiting for ever."""
    caught: list[BaseException] = []

    async def main() -> None:
        async with FakeTelecmi(delay=0.05).service() as service:
            handle = place(service)

            def elsewhere() -> None:
                with pytest.raises(CallPending) as found:
                    asyncio.run(handle)
                caught.append(found.value)

            thread = threading.Thread(target=elsewhere)
            thread.start()
            await asyncio.to_thread(thread.join)
            await handle

    asyncio.run(main())

    assert len(caught) == 1


@pytest.mark.anyio
async def test_outcomes_reach_its_tasks() -> None:
    """A call that is unknown or cancelled raises so, wherever it is waited for."""
    async with FakeTelecmi(always(gateway), delay=1.0).service() as service:
        unknown = service.make_call(to=TO, pcmo=FLOW, retry=RetryPolicy(attempts=1))
        cancelled = place(service)
        cancelled.cancel()
        found: list[type[BaseException]] = []

        async def look(handle: CallHandle) -> None:
            try:
                await handle
            except (CallCancelled, CallOutcomeUnknown) as error:
                found.append(type(error))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(look, unknown)
            tasks.start_soon(look, cancelled)

    assert found == [CallCancelled, CallOutcomeUnknown]
