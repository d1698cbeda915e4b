"""The thread that does blocking work for event loops, in batches."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import anyio
import pytest
from anyio import lowlevel

from telecmi_async.errors import StoreError
from telecmi_async.ledger.job_thread import JobThread

if TYPE_CHECKING:
    from telecmi_async.ledger.job_thread import Job

pytestmark = [pytest.mark.anyio, pytest.mark.real_clock]


class Doubling:
    """A thread that doubles numbers, and records its batches; `free` lets it go on."""

    def __init__(self, most: int = 100) -> None:
        self.batches: list[list[int]] = []
        self.closed = 0
        self.free = threading.Event()
        self.free.set()
        self.thread: JobThread[int] = JobThread(
            "doubling", serve=self._serve, close=self._close, most=most
        )

    def _serve(self, jobs: list[Job[int]]) -> None:
        assert self.free.wait(10)
        self.batches.append([job.work for job in jobs])
        for job in jobs:
            job.succeed(job.work * 2)

    def _close(self) -> None:
        self.closed += 1


async def results(doubling: Doubling, count: int) -> dict[int, int]:
    """Have as many jobs done, each asked for by its own task."""
    found: dict[int, int] = {}

    async def one(number: int) -> None:
        found[number] = await doubling.thread.do(number)

    async with anyio.create_task_group() as tasks:
        for number in range(count):
            tasks.start_soon(one, number)
    return found


async def test_what_is_asked_meanwhile_is_a_batch_as_large_as_allowed() -> None:
    """Jobs that wait while the thread works are served together, up to the largest batch."""
    doubling = Doubling(most=7)
    doubling.free.clear()
    threading.Timer(0.02, doubling.free.set).start()
    found = await results(doubling, 30)
    await doubling.thread.close()

    assert found == {number: number * 2 for number in range(30)}
    assert max(map(len, doubling.batches)) == 7


async def test_a_job_that_was_asked_for_is_done_before_the_thread_ends() -> None:
    """Closing serves what was asked for, and refuses what comes later."""
    doubling = Doubling()
    found: list[int] = []

    async def one() -> None:
        found.append(await doubling.thread.do(21))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(one)
        await lowlevel.checkpoint()
        await lowlevel.checkpoint()
        await doubling.thread.close()

    assert found == [42]
    assert doubling.closed == 1
    with pytest.raises(StoreError, match="is closed"):
        await doubling.thread.do(1)


async def test_all_who_close_wait_for_the_end() -> None:
    """Tasks that close at the same time return when the thread has ended."""
    doubling = Doubling()
    await doubling.thread.do(1)
    ends: list[int] = []

    async def close() -> None:
        await doubling.thread.close()
        ends.append(doubling.closed)

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(close)
    await close()

    assert ends == [1, 1, 1, 1]


async def test_closing_what_never_started_does_nothing() -> None:
    """A thread that had no job is closed at once, and stays closed."""
    doubling = Doubling()
    await doubling.thread.close()
    await doubling.thread.close()

    assert doubling.closed == 0


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("times", [1, 2, 3])
async def test_a_task_that_is_cancelled_repeatedly_gets_its_result(times: int) -> None:
    """However often asyncio cancels it, a waiting task has its result before it is cancelled."""
    doubling = Doubling()
    doubling.free.clear()
    found: list[int] = []

    async def one() -> None:
        found.append(await doubling.thread.do(21))
        await asyncio.sleep(60)

    task = asyncio.create_task(one())
    for _ in range(times):
        await asyncio.sleep(0.01)
        task.cancel()
    await asyncio.sleep(0.01)
    early = list(found)
    doubling.free.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    await doubling.thread.close()

    assert early == []
    assert found == [42]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_both_kinds_of_cancellation_at_once_wait_for_the_result() -> None:
    """A scope's and asyncio's cancellation in one turn: the result first, then the task ends."""
    doubling = Doubling()
    doubling.free.clear()
    found: list[int] = []
    scope = anyio.CancelScope()

    async def one() -> None:
        with scope:
            found.append(await doubling.thread.do(21))
            await asyncio.sleep(60)
        await asyncio.sleep(60)

    task = asyncio.create_task(one())
    await asyncio.sleep(0.01)
    scope.cancel()
    task.cancel()
    await asyncio.sleep(0.01)
    doubling.free.set()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 5)
    await doubling.thread.close()

    assert found == [42]


async def test_a_cancelled_scope_ends_after_the_result_and_not_behind_a_shield() -> None:
    """After the result of a cancelled scope's job, a shield is in force as if it came before."""
    doubling = Doubling()
    doubling.free.clear()
    steps: list[object] = []

    async def one() -> None:
        steps.append(await doubling.thread.do(21))
        with anyio.CancelScope(shield=True):
            await anyio.sleep(0.001)
            steps.append("shielded")
        await anyio.sleep(0.001)
        steps.append("not cancelled")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(one)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
        threading.Timer(0.02, doubling.free.set).start()
    await doubling.thread.close()

    assert steps == [42, "shielded"]
