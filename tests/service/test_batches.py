"""Many calls at once: they begin, are cancelled and closed in batches, in order."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from fake_telecmi import FLOW, TO, FakeTelecmi

from telecmi_async import CallCancelled, CallRequest, RateLimit, Timeouts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from telecmi_async import CallHandle, CallService

MANY = 600
# trio runs the tasks of a pass in random order, so that two batches may lie between two looks.
MOST = 420

pytestmark = pytest.mark.anyio


def place(service: CallService, count: int = MANY) -> list[CallHandle]:
    """Place calls to as many numbers, all at once."""
    return [service.make_call(to=TO + n, pcmo=FLOW) for n in range(count)]


class HeldTelecmi(FakeTelecmi):
    """Answers only once it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.go = anyio.Event()

    async def handle_async_request(self, request: Any) -> Any:
        """Wait, then answer."""
        self.requests.append({})
        await self.go.wait()
        self.requests.pop()
        return await super().handle_async_request(request)


@asynccontextmanager
async def watched(count: Callable[[], int]) -> AsyncIterator[list[int]]:
    """Yield a list of how much a number changed in each pass of the event loop."""
    steps: list[int] = []

    async def watch() -> None:
        before = count()
        while True:
            await anyio.lowlevel.checkpoint()
            steps.append(abs(count() - before))
            before = count()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch)
        yield steps
        tasks.cancel_scope.cancel()


async def test_calls_begin_in_batches_and_in_order() -> None:
    """Hundreds of calls that are made at once do not all begin in one pass of the event loop."""
    telecmi = FakeTelecmi()
    limit = RateLimit(max_in_flight=2 * MANY)
    async with (
        telecmi.service(rate=limit) as service,
        watched(lambda: len(telecmi.requests)) as steps,
    ):
        handles = place(service)
        for handle in handles:
            await handle
        later = place(service, 3)
        for handle in later:
            await handle

    assert [request["to"] for request in telecmi.requests[:MANY]] == [*range(TO, TO + MANY)]
    assert max(steps) <= MOST
    assert len(telecmi.requests) == MANY + 3


async def test_a_call_that_waits_for_its_batch_is_cancelled_like_any_other() -> None:
    """It has no task that began, and never gets one that sends."""
    telecmi = FakeTelecmi()
    async with telecmi.service(rate=RateLimit(max_in_flight=2 * MANY)) as service:
        handles = place(service)
        cancelled = [handle.cancel() for handle in handles[::2]]
        for handle in handles[1::2]:
            await handle

    assert all(cancelled)
    assert len(telecmi.requests) == MANY // 2


async def test_closing_lets_others_use_the_loop_and_starts_nothing() -> None:
    """A request that ends meanwhile gives its slot to no call that is not cancelled yet."""
    telecmi = HeldTelecmi()
    async with telecmi.service(rate=RateLimit(max_in_flight=1)) as service:
        handles = place(service)
        await anyio.sleep(1)
        async with watched(lambda: sum(h._call.placement.settled for h in handles)) as steps:

            async def let_go() -> None:
                await anyio.lowlevel.checkpoint()
                telecmi.go.set()

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(let_go)
                tasks.start_soon(service.aclose)

    assert len(telecmi.requests) == 1
    assert handles[0].accepted
    assert {str(handle.status) for handle in handles[1:]} == {"cancelled"}
    assert all(isinstance(handle.error, CallCancelled) for handle in handles[1:])
    assert max(steps) <= MOST
    assert sum(step > 0 for step in steps) >= MANY // MOST


async def test_a_permit_that_is_given_while_closing_sends_nothing() -> None:
    """Closing has not come to that call yet, and no request leaves all the same."""
    telecmi, permits = HeldTelecmi(), anyio.Event()
    asked = 0

    async def permit(call: Any) -> float:  # as the seam has it
        nonlocal asked
        asked += 1
        await permits.wait()
        return anyio.current_time() + 10

    async with telecmi.service(rate=RateLimit(max_in_flight=2)) as service:
        [first] = place(service, 1)
        request = CallRequest(to=TO, pcmo=FLOW)
        permitted = service._runner.place_once(request, permit, Timeouts())
        queued = place(service)
        await anyio.sleep(1)
        # Closing comes to it last.
        service._runner.calls[permitted._call] = service._runner.calls.pop(permitted._call)

        async def allow() -> None:
            permits.set()
            telecmi.go.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(service.aclose)
            tasks.start_soon(allow)

    assert first.accepted
    assert asked == 1
    assert {str(handle.status) for handle in (permitted, *queued)} == {"cancelled"}
    assert len(telecmi.requests) == 1


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_a_closing_task_that_is_cancelled_between_batches_closes_all_the_same() -> None:
    """The cancellation is delivered once every call is settled and what was sent has ended."""
    telecmi = FakeTelecmi(delay=1.0)
    async with telecmi.service(rate=RateLimit(max_in_flight=1)) as service:
        handles = place(service)
        await asyncio.sleep(0.5)
        closing = asyncio.create_task(service.aclose())
        await asyncio.sleep(0)
        before = sum(handle._call.placement.settled for handle in handles)
        closing.cancel()
        await asyncio.sleep(0)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing

    assert 0 < before < MANY
    assert handles[0].accepted
    assert {str(handle.status) for handle in handles[1:]} == {"cancelled"}
    assert telecmi.finished == len(telecmi.requests) == 1


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_tasks_that_are_cancelled_before_their_batch_settle_their_calls() -> None:
    """As at the end of asyncio.run: all tasks are cancelled, and nothing is sent."""
    telecmi = FakeTelecmi()
    async with telecmi.service() as service:
        handles = place(service)
        for task in tuple(service._parts.tasks._tasks):
            task.cancel()
        await asyncio.sleep(1)

    assert {str(handle.status) for handle in handles} == {"cancelled"}
    assert telecmi.requests == []
