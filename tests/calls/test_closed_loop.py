"""A loop that is closed by hand: its calls are settled by what is known, and reported."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import warnings
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fake_telecmi import FLOW, TO, FakeTelecmi, always, gateway
from webhook_posts import TOKEN

from telecmi_async import (
    CallHandle,
    CallOutcomeUnknown,
    CallService,
    CallStatus,
    NotSent,
    RateLimit,
    Receiver,
    RetryPolicy,
    WrongEventLoop,
)

if TYPE_CHECKING:
    from collections.abc import Callable


class ClosedLoop:
    """A service with calls that are sent, queued and waiting for a retry; its loop is closed."""

    def __init__(self, **options: Any) -> None:
        self.telecmi = FakeTelecmi(delay=60)
        self.loop = asyncio.new_event_loop()
        self.loop.set_exception_handler(lambda *_: None)  # of its destroyed tasks
        self.sent, self.queued, self.retried = self.loop.run_until_complete(
            self._place(options)
        )
        self.loop.close()

    async def _place(self, options: dict[str, Any]) -> list[CallHandle]:
        self.client = httpx.AsyncClient(transport=self.telecmi)
        self.service = CallService(
            1,
            "s",
            from_=TO,
            http_client=self.client,
            rate=RateLimit(max_in_flight=1),
            **options,
        )
        policy = RetryPolicy(wait_initial=100, wait_max=100)
        delay, self.telecmi.delay = self.telecmi.delay, 0.0
        script, self.telecmi.script = self.telecmi.script, always(gateway)
        retried = self.service.make_call(to=TO, pcmo=FLOW, retry=policy)
        await asyncio.sleep(0.01)
        self.telecmi.delay, self.telecmi.script = delay, script
        sent, queued = (self.service.make_call(to=TO, pcmo=FLOW) for _ in range(2))
        for handle in (sent, queued, retried):
            self.loop.create_task(handle)  # they wait in the loop that ends
        await asyncio.sleep(0.01)
        return [sent, queued, retried]


def wait_in_another_loop(handle: CallHandle) -> CallHandle:
    """Await a handle in a new event loop."""

    async def wait() -> CallHandle:
        return await handle

    return asyncio.run(wait())


def read_error(handle: CallHandle) -> Any:
    """Read the error of a handle."""
    if handle.error is not None:
        raise handle.error


def read_request_id(handle: CallHandle) -> Any:
    """Read the id of a handle."""
    return handle.request_id


@pytest.mark.real_clock
@pytest.mark.parametrize("look", [wait_in_another_loop, read_error, read_request_id])
@pytest.mark.parametrize("events", [False, True])
def test_a_look_at_a_handle_says_what_is_known(
    look: Callable[[CallHandle], Any], events: bool
) -> None:
    """Sent: unknown. Queued: not sent. Between attempts: as the attempts say."""
    options = {"events": Receiver(TOKEN)} if events else {}
    left = ClosedLoop(**options)

    for handle, kind, why in (
        (left.sent, CallOutcomeUnknown, "the event loop was closed while the request"),
        (left.queued, NotSent, "the event loop was closed before the call was sent"),
        (left.retried, CallOutcomeUnknown, "HTTP 502 from a gateway"),
    ):
        with pytest.raises(kind, match=why):
            look(handle)

    assert [len(h.attempts) for h in (left.sent, left.queued, left.retried)] == [1, 0, 1]
    assert not left.sent.cancel()
    left.service._runner.closed = True  # without its warning


@pytest.mark.real_clock
def test_states_and_repr_are_true_without_an_await() -> None:
    """`status`, `attempts` and the repr no longer say that a request is under way."""
    left = ClosedLoop()

    assert left.sent.attempts[0].detail.startswith("the event loop was closed")
    assert "unknown" in repr(left.sent)
    assert left.queued.status is CallStatus.NOT_SENT
    assert left.queued.cancel() is False
    assert left.retried.status is CallStatus.UNKNOWN
    left.service._runner.closed = True  # without its warning


@pytest.mark.real_clock
def test_the_service_says_that_its_loop_was_closed() -> None:
    """Using or closing it in another loop names what went wrong."""
    left = ClosedLoop()

    async def use() -> None:
        with pytest.raises(WrongEventLoop, match="was closed before the service"):
            left.service.make_call(to=TO, pcmo=FLOW)
        with pytest.raises(WrongEventLoop, match="was closed before the service"):
            await left.service.aclose()

    asyncio.run(use())
    left.service._runner.closed = True  # without its warning


@pytest.mark.real_clock
def test_what_is_dropped_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    """The service warns that it was never closed, and each lost call is logged."""
    left = ClosedLoop()
    references = [handle.reference for handle in (left.sent, left.queued, left.retried)]

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del left
        gc.collect()

    assert any("was never closed" in str(each.message) for each in caught)
    logged = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
    for reference in references:
        assert sum(reference in text for text in logged) == 1


@pytest.mark.real_clock
def test_a_task_that_is_destroyed_after_a_look_changes_nothing() -> None:
    """Its coroutine may end later, when it is collected: the outcome stays as it was read."""
    left = ClosedLoop()
    handles = (left.sent, left.queued, left.retried)
    before = [(handle.status, handle.attempts) for handle in handles]

    for task in left.service._parts.tasks._tasks:
        with contextlib.suppress(RuntimeError):  # what it awaits ends in an event loop only
            task.get_coro().close()

    assert [(handle.status, handle.attempts) for handle in handles] == before
    left.service._runner.closed = True  # without its warning
