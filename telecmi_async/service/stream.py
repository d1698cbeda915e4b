"""Call stream: many requests in, settled handles out, in flat memory."""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Iterable,
    Mapping,
)
from typing import Self, TypeAlias

import anyio
import attrs

from telecmi_async._internal.event_loop import InterruptNotice, clock_of, current_loop
from telecmi_async._internal.seams import check_function
from telecmi_async.calls.call import Call
from telecmi_async.calls.handle import CallHandle
from telecmi_async.calls.request import CallRequest
from telecmi_async.calls.state import CallStatus
from telecmi_async.errors import (
    CallCancelled,
    InvalidCall,
    NotSent,
    TelecmiError,
    WrongEventLoop,
)

#: One request of a stream: a `CallRequest`, or a mapping with the names of its fields.
Item: TypeAlias = "CallRequest | Mapping[str, object]"

logger = logging.getLogger("telecmi_async")
_STREAM_INTERRUPTED = InterruptNotice(
    "Interrupted: no call is lost. Iterate over the same stream again for those that were sent. "
    "If its `async with` was left, what was queued is cancelled."
)


@attrs.frozen(kw_only=True)
class Progress:
    """How far a stream of calls is; a snapshot.

    Args:
        pulled: Requests taken from the source so far.
        accepted: Calls that TeleCMI accepted.
        rejected: Calls that TeleCMI refused.
        not_sent: Calls whose request never left this machine.
        cancelled: Calls cancelled before they were placed.
        unknown: Calls that may have rung a phone.
        invalid: Requests refused before sending.
        retried: Settled calls that took more than one request.
        seconds: From the stream's beginning to its latest event.
        total: How many requests there are in all, if they were given as a list or tuple.
    """

    pulled: int = 0
    accepted: int = 0
    rejected: int = 0
    not_sent: int = 0
    cancelled: int = 0
    unknown: int = 0
    invalid: int = 0
    retried: int = 0
    seconds: float = 0.0
    total: int | None = None

    @property
    def settled(self) -> int:
        """Calls whose outcome is known or will stay unknown."""
        return (
            self.accepted
            + self.rejected
            + self.not_sent
            + self.cancelled
            + self.unknown
            + self.invalid
        )

    @property
    def pending(self) -> int:
        """Calls that are not settled yet."""
        return self.pulled - self.settled

    def _repr_html_(self) -> str:
        from telecmi_async._internal import html  # noqa: PLC0415  # for notebooks only
        from telecmi_async.calls.state import STATUS_MEANINGS, STATUS_TONES  # noqa: PLC0415  # likewise

        named = [
            (status, "accepted" if status is CallStatus.PROGRESS else status.value)
            for status in CallStatus
            if status not in {CallStatus.QUEUED, CallStatus.SENDING}
        ]
        counts = [
            (status, name, count) for status, name in named if (count := getattr(self, name))
        ]
        rows = [
            (
                html.tone_key(STATUS_TONES[status], name.replace("_", " ")),
                f"{count:,}",
                STATUS_MEANINGS[status],
            )
            for status, name, count in counts
        ]
        whole = self.pulled if self.total is None else self.total
        seconds = f", {self.seconds:.1f} s" if self.seconds else ""
        retried = f", {self.retried:,} took more than one request" if self.retried else ""
        return html.card(
            f"{self.settled:,} of {whole:,} calls settled{retried}{seconds}",
            html.bar([(name, STATUS_TONES[status], n) for status, name, n in counts], whole),
            html.grid(("outcome", "calls", "meaning"), rows),
        )


class StreamFeed:
    """The internal side of a stream: pulls requests, starts their calls and counts them.

    It holds no reference to its `CallStream`, so that a consumer who leaves the loop is noticed.
    At most ``window`` calls are started and not yet taken by the consumer: that keeps memory
    flat, and requests are pulled no faster than calls are placed. ``start`` starts the call of a
    request that was made from an item, and calls a function when it is settled.
    """

    def __init__(
        self,
        source: Iterable[Item] | AsyncIterable[Item],
        start: Callable[[CallRequest, Item, Callable[[Call], None]], Call],
        *,
        window: int,
        on_progress: Callable[[Progress], object] | None,
    ) -> None:
        self.loop = current_loop()
        self._source = source
        self._total = len(source) if isinstance(source, list | tuple) else None
        self._start = start
        self._window = window
        self._on_progress = on_progress
        self._now = clock_of(self.loop)
        self._began = self._now()
        self._counts: Counter[CallStatus] = Counter()
        self._pulled = 0
        self._retried = 0
        self._under_way: set[Call] = set()
        self._ready: deque[Call] = deque()
        self._failure: Exception | None = None
        self._finished = False
        self._stopped = False
        self._exhausted = False
        self._seconds = 0.0
        self._changed = anyio.Event()
        self._scope = anyio.CancelScope()

    async def run(self) -> None:
        """Pull and start until the source is exhausted, fails, or `stop` is called."""
        try:
            with self._scope:
                await self._pull()
        except Exception as error:  # noqa: BLE001  # the user's own: the consumer gets it
            self._failure = error
        finally:
            self.end()

    def end(self) -> None:
        """Note that nothing more is pulled, perhaps as the task never started."""
        self._finished = True
        self._notify()

    async def _pull(self) -> None:
        items = _items(self._source)
        try:
            # A cancelled scope alone is too late for a task that was just woken.
            while not self._leaving():
                try:
                    item = await anext(items)
                except StopAsyncIteration:
                    self._exhausted = True
                    return
                self._pulled += 1
                call = self._start_item(item)
                if not call.placement.settled:
                    self._under_way.add(call)
                if self._leaving():  # the source gave an item at the moment of `stop`
                    call.cancel()
                while len(self._under_way) + len(self._ready) >= self._window:
                    await self._changed.wait()
        finally:
            if isinstance(items, AsyncGenerator):  # else the garbage collector closes it, late
                with anyio.CancelScope(shield=True):
                    await items.aclose()

    def _start_item(self, item: Item) -> Call:
        """Start the call of an item. One that cannot be sent is settled at once.

        Nothing is raised, or an item would be lost.
        """
        why: TelecmiError
        try:
            request = item if isinstance(item, CallRequest) else CallRequest.parse(item)
            return self._start(request, item, self._settled)
        except (InvalidCall, NotSent) as error:
            why = error.with_traceback(None)
        except TelecmiError as error:
            why = CallCancelled(str(error))
        except Exception as error:  # noqa: BLE001  # a row may be of any class, and broken
            why = InvalidCall(f"cannot be read ({type(error).__name__})")
        call = Call(None, source=item, region=None, on_settled=self._settled)
        call.fail(why)
        return call

    def _settled(self, call: Call) -> None:
        self._under_way.discard(call)
        self._ready.append(call)
        self._counts[call.placement.status] += 1
        self._retried += len(call.placement.attempts) > 1
        self._notify()
        if self._on_progress is not None:
            try:
                self._on_progress(self.progress)
            except Exception:
                logger.exception("on_progress failed; the calls go on")

    def _notify(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()
        self._seconds = self._now() - self._began

    def stop(self, failure: Exception | None = None) -> None:
        """Pull no more, and cancel queued calls. Calls that were sent go on.

        The consumer gets the ``failure`` if there was more to pull.
        """
        if self._finished and not self._under_way:
            self._stopped = True
            return
        self._check_loop()
        if not self._finished and not self._stopped:
            self._failure = failure
        self._stopped = True
        self._scope.cancel()
        for call in tuple(self._under_way):
            call.cancel()

    async def take(self) -> Call | None:
        """Return the next settled call; None, or the source's own error, after the last."""
        self._check_loop()
        while not self._ready:
            if self._finished and not self._under_way:
                if self._failure is not None:
                    raise self._failure
                if not self._exhausted and not self._stopped:
                    raise TelecmiError("the source of requests was cancelled")
                return None
            with _STREAM_INTERRUPTED:
                await self._changed.wait()
        self._notify()
        return self._ready.popleft()

    @property
    def open(self) -> bool:
        """Whether requests may still be pulled, or calls are under way or not taken yet."""
        return not self._finished or bool(self._under_way or self._ready)

    def _leaving(self) -> bool:
        return self._stopped

    def _check_loop(self) -> None:
        if self.loop is not current_loop():
            raise WrongEventLoop("use a stream in the event loop it was made in")

    @property
    def progress(self) -> Progress:
        """How far the stream is."""
        counts = self._counts
        return Progress(
            pulled=self._pulled,
            accepted=counts[CallStatus.PROGRESS],
            rejected=counts[CallStatus.REJECTED],
            not_sent=counts[CallStatus.NOT_SENT],
            cancelled=counts[CallStatus.CANCELLED],
            unknown=counts[CallStatus.UNKNOWN],
            invalid=counts[CallStatus.INVALID],
            retried=self._retried,
            seconds=self._seconds,
            total=self._total,
        )


def _items(source: Iterable[Item] | AsyncIterable[Item]) -> AsyncIterator[Item]:
    """Return an asynchronous iterator over a source."""
    return aiter(source) if isinstance(source, AsyncIterable) else _one_by_one(source)


async def _one_by_one(source: Iterable[Item]) -> AsyncGenerator[Item]:
    for item in source:
        yield item


class CallStream:
    """The settled calls of `CallService.make_calls`, in the order of completion.

    Every request becomes one handle, with any outcome. When the consumer leaves, by ``break``, an
    exception or `aclose`, nothing more is started, queued calls are cancelled and the service
    finishes those that were sent.

    Example:
        A hundred calls, at the service's rate::

            rows = [{"to": 19170000000 + n, "pcmo": [Hangup()]} for n in range(1, 101)]
            async with service.make_calls(rows) as calls:
                async for call in calls:
                    print(call.source["to"], call.status)
            print(calls.progress.accepted)

    Raises:
        ServiceClosed: While iterating: the service was closed before the source's end.
        WrongEventLoop: It is used in another event loop.
        Exception: What the source raised, after every call that was started is yielded.
    """

    def __init__(self, feed: StreamFeed) -> None:
        self._feed = feed

    def __repr__(self) -> str:
        """Show how far it is, as `CallStream.progress` does."""
        progress = self._feed.progress
        counts = {
            name: count
            for name in ("accepted", "rejected", "not_sent", "cancelled", "unknown", "invalid")
            if (count := getattr(progress, name))
        }
        shown = "".join(f", {count} {name}" for name, count in counts.items())
        state = "" if self._feed.open else ", ended"
        return f"<CallStream {progress.settled} of {progress.pulled} settled{shown}{state}>"

    def _repr_html_(self) -> str:
        return self.progress._repr_html_()  # what a notebook asks for

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> CallHandle:
        call = await self._feed.take()
        if call is None:
            raise StopAsyncIteration
        return CallHandle(call)

    @property
    def progress(self) -> Progress:
        """How far the stream is."""
        return self._feed.progress

    async def aclose(self) -> None:
        """Start nothing more; the service finishes what was sent."""
        self._feed.stop()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    def __del__(self) -> None:
        try:
            here = current_loop() is self._feed.loop
        except WrongEventLoop:
            here = False
        if here:
            self._feed.stop()


def check_source(source: object, on_progress: object) -> None:
    """Require an iterable of requests and a plain function ``on_progress``."""
    kind = type(source)
    if issubclass(kind, Mapping | str | bytes) or not issubclass(
        kind, Iterable | AsyncIterable
    ):
        raise InvalidCall(
            "must be an iterable or async iterable of CallRequests or mappings, not "
            f"{kind.__name__}; for a single call there is make_call",
            path="requests",
        )
    if on_progress is not None:
        check_function("on_progress", on_progress, "one Progress", plain=True)
