"""asyncio-only behaviour: bare tasks, their cancellation, notebooks, gather."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fake_store import record
from fake_telecmi import FLOW, FROM, TO, FakeTelecmi
from webhook_posts import INBOUND, REQUEST_ID, TOKEN, events_of, post

from telecmi_async import (
    CallCancelled,
    CallHandle,
    CallService,
    Flow,
    InvalidCall,
    Receiver,
    TelecmiError,
    WrongEventLoop,
)
from telecmi_async.testing import cancel_everywhere

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from telecmi_async.events import Event

pytestmark = pytest.mark.asyncio


async def test_cancelling_once_as_asyncio_does_loses_no_call() -> None:
    """task.cancel() at any suspension point loses no call of a service without `async with`."""
    telecmi = FakeTelecmi(delay=0.001)
    client = httpx.AsyncClient(transport=telecmi)

    class State:
        def __init__(self) -> None:
            self.service = CallService(1, "s", from_=FROM, http_client=client)
            self.handles: list[CallHandle] = []

    async def program(state: State) -> None:
        state.handles.append(state.service.make_call(to=TO, pcmo=FLOW))
        await state.handles[0]
        state.handles.append(state.service.make_call(to=TO, pcmo=FLOW))
        await state.service.aclose()

    async def check(state: State) -> None:
        await state.service.aclose()
        assert {handle.status for handle in state.handles} <= {"progress", "cancelled"}
        assert telecmi.finished == len(telecmi.requests)

    assert await cancel_everywhere(program, setup=State, check=check, edge=True) >= 2
    await client.aclose()


async def test_a_second_cancel_while_closing_is_delivered_after_the_wait() -> None:
    """A task that is cancelled while it closes the service still waits for calls in flight."""
    telecmi = FakeTelecmi(delay=0.05)
    client = httpx.AsyncClient(transport=telecmi)
    service = CallService(1, "s", from_=FROM, http_client=client)
    handle = service.make_call(to=TO, pcmo=FLOW)
    await asyncio.sleep(0.01)
    closing = asyncio.create_task(service.aclose())
    await asyncio.sleep(0)
    closing.cancel()

    with pytest.raises(asyncio.CancelledError):
        await closing

    assert handle.accepted
    await client.aclose()


async def test_a_plain_service_is_used_from_several_tasks_like_notebook_cells() -> None:
    """Four tasks, like notebook cells, can make, use and close one service."""
    telecmi = FakeTelecmi(delay=0.001)
    cells: dict[str, Any] = {}

    async def cell_1() -> None:
        cells["client"] = httpx.AsyncClient(transport=telecmi)
        cells["service"] = CallService(1, "s", from_=FROM, http_client=cells["client"])

    async def cell_2() -> None:
        cells["call"] = await cells["service"].make_call(to=TO, pcmo=FLOW)

    async def cell_3() -> None:
        async for call in cells["service"].make_calls([{"to": TO, "pcmo": FLOW}] * 30):
            cells.setdefault("calls", []).append(call)

    async def cell_4() -> None:
        await cells["service"].aclose()
        await cells["client"].aclose()

    for cell in (cell_1, cell_2, cell_3, cell_4):
        await asyncio.create_task(cell())

    assert cells["call"].accepted
    assert all(call.accepted for call in cells["calls"])
    assert len(telecmi.requests) == 31


async def test_a_plain_service_that_is_never_closed_warns() -> None:
    """A ResourceWarning names the remedy; a service that was never used does not warn."""
    service = CallService(1, "s", from_=FROM, http_client=httpx.AsyncClient())
    unused = CallService(1, "s", from_=FROM, http_client=httpx.AsyncClient())
    with pytest.raises(InvalidCall):
        service.make_call(to=1, pcmo=FLOW)
    del unused
    gc.collect()

    with pytest.warns(ResourceWarning, match="was never closed: use async with"):
        del service
        gc.collect()


async def test_tasks_cancelled_before_their_first_step_keep_nothing_waiting() -> None:
    """After a shutdown cancels all tasks, every call is settled and the service closes."""
    telecmi = FakeTelecmi()
    async with telecmi.service() as service:
        handle = service.make_call(to=TO, pcmo=FLOW)
        stream = service.make_calls([{"to": TO, "pcmo": FLOW}])
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        with pytest.raises(CallCancelled):
            await handle
        with pytest.raises(TelecmiError, match="the source of requests was cancelled"):
            await anext(stream)

    assert telecmi.requests == []


async def test_a_task_factory_that_fails_is_told_and_keeps_nothing_waiting() -> None:
    """The error is one of the package, nothing is sent, and the service closes."""

    def factory(*_: Any, **__: Any) -> Any:
        raise TypeError("eager_start")

    telecmi = FakeTelecmi()
    loop = asyncio.get_running_loop()
    async with telecmi.service() as service:
        loop.set_task_factory(factory)
        try:
            with pytest.raises(WrongEventLoop, match="task factory failed"):
                service.make_call(to=TO, pcmo=FLOW)
            with pytest.raises(WrongEventLoop):
                service.make_calls([])
        finally:
            loop.set_task_factory(None)

    assert telecmi.requests == []


async def test_gather_takes_handles() -> None:
    """asyncio.gather accepts handles like any awaitable."""
    async with FakeTelecmi().service() as service:
        handles = [service.make_call(to=TO, pcmo=FLOW) for _ in range(3)]

        assert await asyncio.gather(*handles) == handles
        assert await asyncio.wait_for(handles[0], 1) is handles[0]


async def test_a_source_that_is_cancelled_from_elsewhere_is_no_end() -> None:
    """A source that raises CancelledError ends the stream with an error."""

    async def source() -> AsyncIterator[dict[str, Any]]:
        yield {"to": TO, "pcmo": FLOW}
        raise asyncio.CancelledError

    calls = []
    service = CallService(
        1, "s", from_=TO, http_client=httpx.AsyncClient(transport=FakeTelecmi())
    )
    async with service:
        with pytest.raises(TelecmiError, match="the source of requests was cancelled"):
            async for call in service.make_calls(source()):
                calls.append(call)  # noqa: PERF401  # a comprehension would lose them

    assert len(calls) == 1


async def test_a_handler_may_await_what_was_cancelled(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """On asyncio the await raises in the handler, and cancels nothing of the package."""
    receiver = Receiver(TOKEN)
    gone = asyncio.create_task(asyncio.sleep(10))
    gone.cancel()

    @receiver.on_event
    @receiver.on_inbound
    async def fail(event: Event) -> Flow:
        await gone
        return Flow()

    received = events_of(receiver)
    async with receiver:
        await post(receiver, record(REQUEST_ID))
        reply = await post(receiver, INBOUND)

    assert reply.body == b'[{"action":"hangup"}]'
    assert len(received) == 2
    assert caplog.text.count("CancelledError") >= 3


async def test_an_event_loop_that_anyio_cannot_use_is_refused_before_a_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What anyio imports for an event loop is imported before anything is placed."""

    def broken() -> float:
        raise OSError(24, "Too many open files")

    telecmi = FakeTelecmi()
    client = httpx.AsyncClient(transport=telecmi)
    service = CallService(1, "s", from_=FROM, http_client=client)
    with monkeypatch.context() as patch:
        patch.setattr("anyio.current_time", broken)
        with pytest.raises(WrongEventLoop, match=r"\(OSError\).*Too many open files"):
            service.make_call(to=TO, pcmo=FLOW)
    await service.make_call(to=TO, pcmo=FLOW)
    await service.aclose()
    await client.aclose()

    assert len(telecmi.requests) == 1
