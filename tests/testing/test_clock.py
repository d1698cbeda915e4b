"""Virtual clock: sleeping takes no time, and all else works as on a real clock."""

from __future__ import annotations

import asyncio
import socket
import threading
import time

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from telecmi_async.testing import VirtualClockLoop, run, virtual_backend


@pytest.mark.anyio
async def test_hours_pass_at_once() -> None:
    """Sleeping moves the clock by exactly the time slept, without waiting."""
    began = time.perf_counter()

    await anyio.sleep(3_600.5)

    assert anyio.current_time() == 3_600.5
    assert time.perf_counter() - began < 5


@pytest.mark.anyio
async def test_time_stands_still_while_something_runs() -> None:
    """The clock only jumps when no task can run."""
    for _ in range(100):
        await anyio.lowlevel.checkpoint()

    assert anyio.current_time() == 0


@pytest.mark.anyio
async def test_sleepers_wake_in_order_of_their_time() -> None:
    """Tasks wake at their own times, the earliest first."""
    woken: list[tuple[float, float]] = []

    async def sleeper(delay: float) -> None:
        await anyio.sleep(delay)
        woken.append((delay, anyio.current_time()))

    async with anyio.create_task_group() as group:
        for delay in (3.0, 0.001, 2.0, 0.1):
            group.start_soon(sleeper, delay)

    assert woken == [(0.001, 0.001), (0.1, 0.1), (2.0, 2.0), (3.0, 3.0)]


@pytest.mark.anyio
async def test_time_outs_go_off() -> None:
    """A time-out expires when nothing can happen before it."""
    with pytest.raises(TimeoutError):
        with anyio.fail_after(30):
            await anyio.sleep_forever()

    assert anyio.current_time() == 30


@pytest.mark.anyio
@pytest.mark.real_clock
async def test_the_marker_gives_real_time() -> None:
    """With the marker, time passes as on a real clock."""
    before = anyio.current_time()

    await anyio.to_thread.run_sync(time.sleep, 0.001)

    assert anyio.current_time() > before


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_run_returns_what_the_function_returns(backend: str) -> None:
    """`run` returns the function's result, and every run starts at 0."""

    async def hour() -> float:
        await anyio.sleep(3600)
        return anyio.current_time()

    results = [run(hour, backend=backend) for _ in range(2)]  # type: ignore[arg-type]  # a str

    assert results == [3600, 3600]


def test_other_backends_are_refused() -> None:
    """The error names a backend that does not exist."""
    with pytest.raises(ValueError, match="curio"):
        virtual_backend("curio")  # type: ignore[arg-type]  # what it refuses


def test_sockets_are_refused_on_asyncio() -> None:
    """A socket on the virtual clock raises an error that says what to do."""

    async def receive(peer: socket.socket) -> None:
        peer.setblocking(False)
        await asyncio.get_running_loop().sock_recv(peer, 1)

    ours, theirs = socket.socketpair()

    with ours, theirs, pytest.raises(RuntimeError, match="virtual clock"):
        run(lambda: receive(ours))


def test_a_thread_is_waited_for_when_no_timer_is_left() -> None:
    """Without a timer to jump to, the loop waits for a thread instead of spinning."""
    release = threading.Event()

    async def ask() -> str:
        threading.Timer(0.01, release.set).start()
        return await asyncio.to_thread(lambda: "done" if release.wait(10) else "late")

    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        answer = runner.run(ask())

    assert answer == "done"
