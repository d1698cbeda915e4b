"""make_calls as a stream: order, back-pressure, invalid rows, leaving early."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from fake_telecmi import FLOW, TO, FakeTelecmi, accepted, always, in_turn, refused
from left_generators import left_generators

from telecmi_async import (
    CallRequest,
    CallService,
    CallStatus,
    ConfigurationError,
    InvalidCall,
    Progress,
    RateLimit,
    ServiceClosed,
    WrongEventLoop,
)
from telecmi_async.testing import cancel_everywhere

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

pytestmark = pytest.mark.anyio


def rows(count: int) -> Iterator[dict[str, Any]]:
    """Yield requests to consecutive numbers."""
    for number in range(count):
        yield {"to": TO + number, "pcmo": FLOW}


async def test_every_request_is_yielded_once_whatever_its_fate() -> None:
    """Accepted, refused and invalid rows are all yielded as settled handles."""
    telecmi = FakeTelecmi(lambda n: refused(420) if n % 10 == 3 else accepted(n), delay=0.1)
    bad = {"to": "nobody", "pcmo": FLOW}
    ready = CallRequest(to=TO, pcmo=FLOW)
    async with telecmi.service() as service:
        calls = [call async for call in service.make_calls([*rows(100), bad, ready])]

    assert len(calls) == 102
    assert [call.status for call in calls].count(CallStatus.PROGRESS) == 91
    assert [call.status for call in calls].count(CallStatus.REJECTED) == 10
    [invalid] = [call for call in calls if call.status is CallStatus.INVALID]
    assert invalid.source is bad
    assert isinstance(invalid.error, InvalidCall)
    assert invalid.error.path == "to"
    assert invalid.request is None
    assert invalid.region is None
    assert repr(invalid).endswith("to ? invalid InvalidCall>")
    with pytest.raises(InvalidCall):
        await invalid
    [last] = [call for call in calls if call.source is ready]
    assert last.request is ready


async def test_calls_come_in_the_order_of_completion() -> None:
    """A slow call does not delay calls that complete earlier."""

    class Uneven(FakeTelecmi):
        async def handle_async_request(self, request: Any) -> Any:
            self.delay = 5.0 if not self.requests else 0.1 + 0.001 * len(self.requests)
            return await super().handle_async_request(request)

    async with Uneven().service() as service:
        order = [
            call.request.to - TO
            async for call in service.make_calls(rows(30))
            if call.request is not None
        ]

    assert order[-1] == 0
    assert order[:-1] == list(range(1, 30))


async def test_requests_are_pulled_only_as_fast_as_calls_are_placed() -> None:
    """At most a window of requests is pulled ahead of the consumer."""
    pulled = 0

    def endless() -> Iterator[dict[str, Any]]:
        nonlocal pulled
        while True:
            pulled += 1
            yield {"to": TO, "pcmo": FLOW}

    async with FakeTelecmi(delay=0.1).service(rate=RateLimit(max_in_flight=5)) as service:
        taken = 0
        async for _ in service.make_calls(endless()):
            taken += 1
            assert pulled <= taken + 10
            if taken == 50:
                break
        await anyio.sleep(10)

    assert pulled <= 60


async def test_a_slow_consumer_holds_the_source_back() -> None:
    """While the loop's body sleeps, no more calls than the window are placed."""
    telecmi = FakeTelecmi()
    async with telecmi.service(rate=RateLimit(max_in_flight=3)) as service:
        async for _ in service.make_calls(rows(100)):
            await anyio.sleep(60)
            break

        assert len(telecmi.requests) <= 7


async def test_an_async_source_does_not_hold_back_results() -> None:
    """A settled call is yielded while the source still waits for its next request."""

    async def slow() -> AsyncIterator[dict[str, Any]]:
        for row in rows(3):
            yield row
            await anyio.sleep(100)

    times = []
    async with FakeTelecmi(delay=1).service() as service:
        began = anyio.current_time()
        async for call in service.make_calls(slow()):
            assert call.accepted
            times.append(anyio.current_time() - began)

    assert times == pytest.approx([1, 101, 201])


async def test_breaking_out_stops_starting_and_finishes_what_was_sent() -> None:
    """After break no call is started; queued calls are cancelled, calls in flight finished."""
    telecmi = FakeTelecmi(delay=1.0)
    async with telecmi.service(rate=RateLimit(max_in_flight=4)) as service:
        async for call in service.make_calls(rows(1000)):
            assert call.accepted
            break
        gc.collect()
        sent = len(telecmi.requests)
        await anyio.sleep(100)

        assert len(telecmi.requests) <= sent + 1
        assert telecmi.finished == len(telecmi.requests)


async def test_an_error_in_the_loops_body_stops_the_stream_too() -> None:
    """The body's exception is raised, and no further call is started."""
    telecmi = FakeTelecmi(delay=1.0)
    async with telecmi.service(rate=RateLimit(max_in_flight=4)) as service:
        with pytest.raises(ZeroDivisionError):
            async for _ in service.make_calls(rows(1000)):
                raise ZeroDivisionError
        await anyio.sleep(100)

        assert len(telecmi.requests) <= 9


async def test_a_stream_is_a_context_manager() -> None:
    """Leaving the context stops the stream, even if a reference to it remains."""
    telecmi = FakeTelecmi(delay=1.0)
    async with telecmi.service(rate=RateLimit(max_in_flight=2)) as service:
        async with service.make_calls(rows(1000)) as calls:
            first = await anext(calls)
        sent = len(telecmi.requests)
        left = [call async for call in calls]
        await anyio.sleep(100)

    assert first.accepted
    assert len(telecmi.requests) == sent
    assert {call.status for call in left} <= {CallStatus.PROGRESS, CallStatus.CANCELLED}


async def test_the_sources_error_comes_after_every_call() -> None:
    """All started calls are yielded first; then the source's exception is raised."""

    async def failing() -> AsyncIterator[dict[str, Any]]:
        for row in rows(3):
            yield row
        raise LookupError("no more contacts")

    calls = []
    async with FakeTelecmi(delay=1).service() as service:
        with pytest.raises(LookupError, match="no more contacts"):
            async for call in service.make_calls(failing()):
                calls.append(call)  # noqa: PERF401  # a comprehension would lose them

    assert [call.accepted for call in calls] == [True] * 3


async def test_an_async_generator_is_closed_when_the_consumer_leaves() -> None:
    """The generator's `finally` runs at once, and not when it is collected."""
    closed = []

    async def source() -> AsyncIterator[dict[str, Any]]:
        try:
            for row in rows(1000):
                yield row
        finally:
            closed.append(True)

    async with FakeTelecmi(delay=1).service() as service:
        async with service.make_calls(source()) as calls:
            await anext(calls)
        await anyio.sleep(0.01)

        assert closed == [True]


async def test_progress_counts_every_fate() -> None:
    """`on_progress` receives frozen snapshots; the last one has the totals."""
    telecmi = FakeTelecmi(in_turn(lambda: refused(502), lambda: refused(420), accepted))
    snapshots: list[Progress] = []
    async with telecmi.service(rate=RateLimit(max_in_flight=1)) as service:
        stream = service.make_calls([*rows(9), {}], on_progress=snapshots.append)
        calls = [call async for call in stream]

    last = snapshots[-1]
    assert len(snapshots) == len(calls) == 10
    assert [s.settled for s in snapshots] == list(range(1, 11))
    assert (last.pulled, last.accepted, last.rejected, last.invalid) == (10, 8, 1, 1)
    assert (last.retried, last.unknown, last.not_sent, last.cancelled) == (1, 0, 0, 0)
    assert last.pending == 0
    assert last.seconds > 0
    assert stream.progress.settled == 10
    with pytest.raises(AttributeError):
        last.accepted = 0  # type: ignore[misc]  # frozen


async def test_a_broken_on_progress_disturbs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """An error in `on_progress` is logged, and the calls go on."""

    def broken(_: Progress) -> None:
        raise ZeroDivisionError

    async with FakeTelecmi().service() as service:
        calls = [call async for call in service.make_calls(rows(3), on_progress=broken)]

    assert [call.accepted for call in calls] == [True] * 3
    assert caplog.text.count("on_progress failed") == 3


async def _async_callback(_: Progress) -> None:
    """Not allowed."""


@pytest.mark.parametrize(
    ("requests", "options", "error", "message"),
    [
        ({"to": TO}, {}, InvalidCall, "requests: must be an iterable or async iterable"),
        ("919876543210", {}, InvalidCall, "not str; for a single call there is make_call"),
        (5, {}, InvalidCall, "not int"),
        ([], {"on_progress": 5}, ConfigurationError, "on_progress must be a plain function"),
        ([], {"on_progress": _async_callback}, ConfigurationError, "on_progress must be"),
    ],
)
async def test_what_is_no_stream_is_refused(
    requests: Any, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    """The error says what is wanted, before anything is pulled."""
    async with FakeTelecmi().service() as service:
        with pytest.raises(error, match=message):
            service.make_calls(requests, **options)


@pytest.mark.parametrize("row", [None, 5, "x", [], {"to": TO}, {"too": TO, "pcmo": FLOW}])
async def test_a_row_of_any_kind_is_yielded_as_invalid(row: Any) -> None:
    """An invalid row is yielded as an invalid call and does not end the loop."""
    async with FakeTelecmi().service() as service:
        calls = [call async for call in service.make_calls([row, *rows(1)])]

    assert sorted(call.status for call in calls) == [CallStatus.INVALID, CallStatus.PROGRESS]


async def test_closing_the_service_ends_the_stream_with_an_error() -> None:
    """The consumer gets every call that was started, then ServiceClosed."""
    telecmi = FakeTelecmi(delay=1.0)
    calls = []
    async with telecmi.service(rate=RateLimit(max_in_flight=2)) as service:
        stream = service.make_calls(rows(1000))
        calls.append(await anext(stream))
        await service.aclose()
        with pytest.raises(ServiceClosed):
            async for call in stream:
                calls.append(call)  # noqa: PERF401  # a comprehension would lose them

    assert {call.status for call in calls} <= {CallStatus.PROGRESS, CallStatus.CANCELLED}
    assert telecmi.finished == len(telecmi.requests)


async def test_two_consumers_share_a_stream() -> None:
    """Every call goes to exactly one consumer, and both loops end."""
    got: list[list[Any]] = [[], []]
    async with FakeTelecmi(delay=0.1).service() as service:
        stream = service.make_calls(rows(50))

        async def consume(into: list[Any]) -> None:
            async for call in stream:
                into.append(call.request_id)  # noqa: PERF401  # filled bit by bit

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(consume, got[0])
            tasks.start_soon(consume, got[1])

    assert len({*got[0], *got[1]}) == len(got[0]) + len(got[1]) == 50


async def test_leaving_the_service_ends_a_forgotten_stream() -> None:
    """An unfinished stream does not prevent the service from closing."""
    telecmi = FakeTelecmi(delay=1.0)
    async with telecmi.service() as service:
        stream = service.make_calls(rows(1000))
        await anext(stream)

    assert telecmi.finished == len(telecmi.requests)
    assert stream.progress.pending == 0


async def test_cancelling_the_consumer_anywhere_loses_no_call() -> None:
    """Wherever the consuming program is cancelled, calls in flight are finished, once each."""

    async def program(telecmi: FakeTelecmi) -> None:
        async with telecmi.service(rate=RateLimit(max_in_flight=2)) as service:
            async for _ in service.make_calls(rows(6)):
                await anyio.sleep(0.05)

    async def check(telecmi: FakeTelecmi) -> None:
        await anyio.sleep(10)
        numbers = [request["to"] for request in telecmi.requests]
        assert len(set(numbers)) == len(numbers) == telecmi.finished

    points = await cancel_everywhere(program, setup=lambda: FakeTelecmi(delay=0.1), check=check)

    assert points >= 6


async def test_failures_in_a_loop_that_looks_at_nothing_are_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Failures of calls that the loop's body ignores are logged."""
    gc.collect()
    caplog.clear()
    async with FakeTelecmi(always(lambda: refused(420))).service() as service:
        async for _ in service.make_calls(rows(3)):
            pass
        del _
    gc.collect()

    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 3


@pytest.mark.real_clock
def test_a_stream_left_over_from_a_dead_loop_is_harmless() -> None:
    """Outside its loop a stream keeps its counts, and collecting it has no effect."""

    async def start() -> Any:
        async with FakeTelecmi().service() as service:
            stream = service.make_calls(rows(3))
            await anext(stream)
        return stream

    stream = asyncio.run(start())
    progress = stream.progress
    del stream
    gc.collect()

    assert progress.accepted == progress.settled == 3


async def test_hundreds_of_calls_keep_nothing() -> None:
    """After the loop the service holds no call, no task and no feed."""
    async with FakeTelecmi().service() as service:
        count = 0
        async for call in service.make_calls(rows(300)):
            count += call.accepted
        await anyio.lowlevel.checkpoint()

        assert count == 300
        assert not service._runner.calls
        assert service._parts.tasks._running == 0
        assert not service._feeds


def test_a_service_is_needed_in_a_loop() -> None:
    """Outside an event loop, make_calls is refused like make_call."""
    service = CallService(1, "s")

    with pytest.raises(RuntimeError, match="no running event loop"):
        service.make_calls([])


async def test_an_item_given_at_the_moment_of_leaving_is_not_dialled() -> None:
    """An item that arrives as the consumer leaves is returned as a cancelled call."""
    go_on = anyio.Event()

    async def source() -> AsyncIterator[dict[str, Any]]:
        yield {"to": TO, "pcmo": FLOW}
        await go_on.wait()
        yield {"to": TO + 1, "pcmo": FLOW}

    telecmi = FakeTelecmi()
    async with telecmi.service() as service:
        async with service.make_calls(source()) as calls:
            async for _ in calls:
                go_on.set()
                break
        rest = [call.status async for call in calls]

    assert [request["to"] for request in telecmi.requests] == [TO]
    assert rest in ([], [CallStatus.CANCELLED])


async def test_a_source_may_close_the_service() -> None:
    """The service does not wait for the task that closes it."""
    telecmi = FakeTelecmi()
    async with telecmi.service() as service:

        async def source() -> AsyncIterator[dict[str, Any]]:
            yield {"to": TO, "pcmo": FLOW}
            await anyio.sleep(1)
            await service.aclose()
            yield {"to": TO + 1, "pcmo": FLOW}

        calls = [call async for call in _until_closed(service.make_calls(source()))]

    assert [call.status for call in calls] == [CallStatus.PROGRESS, CallStatus.CANCELLED]


async def _until_closed(stream: Any) -> AsyncIterator[Any]:
    with contextlib.suppress(ServiceClosed):
        async for call in stream:
            yield call


class Hostile(Mapping[str, Any]):
    """A row whose keys cannot be read."""

    def __getitem__(self, key: str) -> Any:
        raise ZeroDivisionError

    def __iter__(self) -> Iterator[str]:
        raise ZeroDivisionError

    def __len__(self) -> int:
        return 1


async def test_a_row_that_raises_is_invalid_and_not_the_end() -> None:
    """Exceptions of a row's class make it invalid and do not end the loop."""
    async with FakeTelecmi().service() as service:
        calls = [call async for call in service.make_calls([Hostile(), *rows(1)])]

    assert sorted(call.status for call in calls) == [CallStatus.INVALID, CallStatus.PROGRESS]


async def test_progress_never_runs_backwards() -> None:
    """No snapshot has more calls settled than pulled."""
    snapshots: list[Progress] = []
    async with FakeTelecmi().service() as service:
        stream = service.make_calls([{}, *rows(5), {}], on_progress=snapshots.append)
        async for _ in stream:
            pass

    assert all(snapshot.pending >= 0 for snapshot in snapshots)


async def test_a_stream_is_used_in_its_own_loop_only() -> None:
    """Iterating or closing a stream in another thread's loop is refused."""

    async def take() -> None:
        await anext(stream)

    def elsewhere() -> None:
        with pytest.raises(WrongEventLoop, match="in the event loop it was made in"):
            asyncio.run(take())
        with pytest.raises(WrongEventLoop):
            asyncio.run(stream.aclose())

    async with FakeTelecmi(delay=1).service() as service:
        stream = service.make_calls(rows(3))
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        assert len([call async for call in stream]) == 3


async def test_a_hundred_bad_rows_at_once_all_come() -> None:
    """Rows that are settled at once wake the feed when they are taken."""
    async with FakeTelecmi().service() as service:
        calls = [call async for call in service.make_calls([{}] * 100)]

    assert [call.status for call in calls] == [CallStatus.INVALID] * 100


async def test_a_stream_that_is_left_pulls_no_further_row() -> None:
    """After leaving, no further row is pulled, even if there is room."""
    pulled = []

    def source() -> Iterator[dict[str, Any]]:
        for row in rows(1000):
            pulled.append(row)
            yield row

    async with FakeTelecmi(delay=1).service(rate=RateLimit(max_in_flight=1)) as service:
        async with service.make_calls(source()) as calls:
            await anext(calls)
        before = len(pulled)
        assert [call async for call in calls]

    assert len(pulled) == before


async def test_closing_after_the_sources_end_is_no_error() -> None:
    """If the service closes after the source's end, the stream yields its calls and ends."""
    async with FakeTelecmi(delay=1).service() as service:
        stream = service.make_calls(rows(3))
        await anyio.sleep(0.5)
        await service.aclose()

        assert [call.accepted async for call in stream] == [True] * 3


async def test_a_stream_that_was_left_ends_quietly_when_the_service_closes() -> None:
    """A stream that was closed first ends without ServiceClosed."""
    async with FakeTelecmi(delay=1).service(rate=RateLimit(max_in_flight=1)) as service:
        stream = service.make_calls(rows(100))
        await anext(stream)
        await stream.aclose()
        await service.aclose()

        assert {call.status async for call in stream} <= {"progress", "cancelled"}


async def test_a_sources_clean_up_may_wait() -> None:
    """An async generator's clean-up is awaited, also when its consumer was cancelled."""
    closed = []

    async def source() -> AsyncIterator[dict[str, Any]]:
        try:
            for row in rows(1000):
                yield row
        finally:
            await anyio.sleep(1)
            closed.append(True)

    with anyio.move_on_after(5):
        async with FakeTelecmi(delay=1).service(rate=RateLimit(max_in_flight=1)) as service:
            async for _ in service.make_calls(source()):
                pass

    assert closed == [True]


async def test_the_truthful_end_works_under_an_outer_cancellation() -> None:
    """Under cancellation, on both backends, a stream can be closed and its rest read."""
    seen: list[str] = []
    for tenths in range(1, 30):
        telecmi = FakeTelecmi(delay=0.35)
        with anyio.move_on_after(tenths / 10) as scope:
            async with telecmi.service(rate=RateLimit(max_in_flight=3)) as service:
                stream = service.make_calls(rows(20))
                try:
                    async for call in stream:
                        seen.append(call.status)  # noqa: PERF401  # may be cut short
                finally:
                    with anyio.CancelScope(shield=True):
                        await stream.aclose()
                        seen += [call.status async for call in stream]
        assert scope.cancelled_caught or tenths > 20
        assert telecmi.finished == len(telecmi.requests)

    assert set(seen) == {"progress", "cancelled"}


async def test_a_finished_stream_may_be_closed_anywhere() -> None:
    """Closing a finished stream has no effect, also in another thread."""
    async with FakeTelecmi().service() as service:
        stream = service.make_calls(rows(1))
        assert len([call async for call in stream]) == 1
    thread = threading.Thread(target=lambda: asyncio.run(stream.aclose()))
    thread.start()
    thread.join()

    assert stream.progress.accepted == 1


async def test_two_sources_may_close_the_service() -> None:
    """Neither source waits for the other, and the body does not wait for them either."""
    telecmi = FakeTelecmi(delay=1)
    got: list[str] = []

    async def source(service: CallService, after: float) -> AsyncIterator[dict[str, Any]]:
        yield {"to": TO, "pcmo": FLOW}
        await anyio.sleep(after)
        await service.aclose()

    async def consume(stream: Any) -> None:
        got.extend([call.status async for call in _until_closed(stream)])

    async with telecmi.service() as service, anyio.create_task_group() as tasks:
        for after in (0.3, 0.5):
            tasks.start_soon(consume, service.make_calls(source(service, after)))
        await anyio.sleep(0.4)

    assert got == [CallStatus.PROGRESS] * 2


class Counting:
    """A source that is no generator."""

    def __init__(self, count: int) -> None:
        self.rows = rows(count)

    def __aiter__(self) -> Counting:
        return self

    async def __anext__(self) -> dict[str, Any]:
        try:
            return next(self.rows)
        except StopIteration:
            raise StopAsyncIteration from None


async def test_a_source_need_not_be_a_generator() -> None:
    """An object with `__anext__` is a source like any other."""
    async with FakeTelecmi().service() as service:
        statuses = [call.status async for call in service.make_calls(Counting(3))]

    assert statuses == [CallStatus.PROGRESS] * 3


class Rows:
    """A source whose iterator is a generator of its own."""

    def __init__(self) -> None:
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        try:
            for row in rows(1_000):
                yield row
        finally:
            await anyio.sleep(0.01)
            self.closed = True


@pytest.mark.parametrize("kind", ["object", "generator", "plain"])
async def test_a_source_that_is_left_is_closed_at_once(kind: str) -> None:
    """Leaving a stream closes the generators of its source, in their own event loop."""
    source = Rows()
    sources: dict[str, Any] = {
        "object": source, "generator": aiter(source), "plain": rows(1_000),
    }  # fmt: skip
    with left_generators() as left:
        async with (
            FakeTelecmi().service() as service,
            service.make_calls(sources[kind]) as calls,
        ):
            async for _ in calls:
                break
        assert source.closed is (kind != "plain")

    assert left == []
