"""Request log: the newest requests and their answers, and how often each number was dialled."""

from __future__ import annotations

import json
from array import array
from collections import deque
from typing import TYPE_CHECKING, Final, cast

from attrs import field, frozen

from telecmi_async._internal.messages import mask
from telecmi_async.http_server import HttpResponse
from telecmi_async.simulator.fault import Breach

if TYPE_CHECKING:
    from telecmi_async.simulator.replies import Decision

_START: Final = 1024
# Fibonacci hashing: consecutive numbers, the usual case, end up far apart.
_SPREAD: Final = 0x9E37_79B9_7F4A_7C15
_SECOND: Final = 1.0
# Schedules such as 0.02 s apart add up to 0.9999999999 s, which counts as a second.
_ROUNDING: Final = 1e-9
_NEVER_ANSWERED: Final = frozenset({Breach.RESET, Breach.CLOSE})
# Bytes of a body that are kept: all of a usual request.
_MOST_OF_BODY: Final = 16_384


def _masked(to: int | None) -> str:
    return "None" if to is None else mask(to)


@frozen(kw_only=True, eq=False)
class SimulatedRequest:
    """A request to the simulator, and what was answered.

    Args:
        number: Which request it was, from 1.
        at: When it arrived, in seconds on the simulator's clock.
        method: The HTTP method; ``""`` if the request could not be read as HTTP.
        path: The path without its query.
        content_type: What the request said its body is.
        body: The first 16 KiB of the body. It holds the secret.
        size: The length of the whole body in bytes.
        answer: The reply.
        delay: Seconds until the reply was sent.
        breach: What happened to the connection instead of the reply, or while it was sent.
        to: The number to call, if the request named one; masked in the repr.
        attempt: Which try for this number it was, from 1; ``None`` if it was refused before.
        request_id: The id of the call that was placed; ``None`` if none was.
    """

    number: int
    at: float
    method: str
    path: str = field(repr=False)
    content_type: str = field(default="", repr=False)
    body: bytes = field(default=b"", repr=False)
    size: int = 0
    answer: HttpResponse = field(repr=False)
    delay: float = 0.0
    breach: Breach | None = None
    to: int | None = field(default=None, repr=_masked)
    attempt: int | None = None
    request_id: str | None = None

    @property
    def status(self) -> int | None:
        """The HTTP status of the reply; ``None`` if the connection ended before one."""
        return None if self.breach in _NEVER_ANSWERED else self.answer.status

    @property
    def code(self) -> int | str | None:
        """TeleCMI's code in the reply's body, if there is one."""
        found = self._said().get("code", self._said().get("cmi_code"))
        return found if isinstance(found, int | str) else None

    @property
    def message(self) -> str:
        """Why the request was refused, in the words of the reply; ``""`` if it was not."""
        return str(self._said().get("msg", ""))

    def _said(self) -> dict[str, object]:
        if self.status is None or not self.answer.body.startswith(b"{"):
            return {}
        return cast("dict[str, object]", json.loads(self.answer.body))


class RequestLog:
    """Counts every request and every number, and keeps the newest requests."""

    def __init__(self, keep: int | None) -> None:
        #: The newest requests, oldest first.
        self.recent: deque[SimulatedRequest] = deque(maxlen=keep)
        self._logged = 0
        self.arrivals = SlidingWindow()
        self.requests = 0
        self.in_flight = 0
        self.max_in_flight = 0
        self.dialled_again: dict[int, int] = {}
        self.placed = NumberCounter()
        self._failed: dict[int, int] = {}
        self._first_at = 0.0
        self._last_new = (0, 0.0)

    def arrive(self, at: float) -> None:
        """Count a request that came in at ``at`` (seconds)."""
        if not self.requests:
            self._first_at = at
        self.requests += 1
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        self.arrivals.add(at)

    def keep(
        self,
        *,
        at: float,
        method: str,
        path: str,
        content_type: str = "",
        body: bytes = b"",
        decision: Decision,
    ) -> SimulatedRequest:
        """Keep a request and its answer among the newest, and return both."""
        self._logged += 1
        call = decision.call
        request = SimulatedRequest(
            number=self._logged,
            at=at,
            method=method,
            path=path,
            content_type=content_type,
            body=body[:_MOST_OF_BODY],
            size=len(body),
            answer=decision.answer,
            delay=decision.delay,
            breach=decision.breach,
            to=decision.to,
            attempt=decision.attempt,
            request_id=None if call is None else call.request_id,
        )
        self.recent.append(request)
        return request

    def visit(self) -> None:
        """Count a request for the page as under way only; `leave` ends that, too."""
        self.in_flight += 1

    def leave(self) -> None:
        """Count a request as answered, or given up by its client."""
        self.in_flight -= 1

    def start_attempt(self, to: int, at: float) -> int:
        """Return which try for ``to`` this is, from 1."""
        attempt = self.placed[to] + self._failed.get(to, 0) + 1
        if attempt == 1:
            self._last_new = (self.requests, at)
        return attempt

    def fail(self, to: int) -> None:
        """Count a try for ``to`` that placed nothing."""
        self._failed[to] = self._failed.get(to, 0) + 1

    def place(self, to: int) -> None:
        """Count a call to ``to`` as placed."""
        times = self.placed.add(to)
        if times > 1:
            self.dialled_again[to] = times

    def pace(self) -> float:
        """Return the requests a second from the first one to the last new number's."""
        requests, at = self._last_new
        elapsed = at - self._first_at
        return (requests - 1) / elapsed if elapsed > 0 else 0.0


class NumberCounter:
    """How often each number was seen, exactly, in little memory.

    A dict takes about 100 bytes a number while it grows: 10 MB for 100,000 calls, from a
    simulator that is used where memory is measured. Two flat arrays with open addressing take
    about 24.
    """

    __slots__ = ("_counts", "_keys", "_used")

    def __init__(self) -> None:
        self._keys = array("Q", [0]) * _START  # 0 is a free slot; no number is 0
        self._counts = array("I", [0]) * _START
        self._used = 0

    def __len__(self) -> int:
        """Return how many different numbers were seen."""
        return self._used

    def __getitem__(self, number: int) -> int:
        """Return how often ``number`` was seen: 0 if never, or if it is out of range."""
        if not 0 < number < 2**64:
            return 0
        return self._counts[self._slot(number)]

    def add(self, number: int) -> int:
        """Count ``number``, from 1 to below 2**64, once more; return its new count."""
        slot = self._slot(number)
        if not self._keys[slot]:
            if 3 * self._used >= 2 * len(self._keys):
                self._grow()
                slot = self._slot(number)
            self._keys[slot] = number
            self._used += 1
        self._counts[slot] += 1
        return self._counts[slot]

    def _slot(self, number: int) -> int:
        """Return where ``number`` is, or the free slot where it belongs."""
        keys = self._keys
        last = len(keys) - 1
        slot = (number * _SPREAD >> 24) & last
        while keys[slot] and keys[slot] != number:
            slot = (slot + 1) & last
        return slot

    def _grow(self) -> None:
        keys, counts = self._keys, self._counts
        self._keys = array("Q", [0]) * (2 * len(keys))
        self._counts = array("I", [0]) * (2 * len(keys))
        for number, count in zip(keys, counts, strict=True):
            if number:
                slot = self._slot(number)
                self._keys[slot] = number
                self._counts[slot] = count


class SlidingWindow:
    """Counts moments, which come in order, within the last second.

    Two moments exactly a second apart are not in the same window. Memory is bounded by the
    number of different moments within a second.
    """

    __slots__ = ("_counts", "_held", "_moments", "highest")

    def __init__(self) -> None:
        self._moments: deque[float] = deque()
        self._counts: deque[int] = deque()
        self._held = 0
        #: The most there ever was in any window of one second.
        self.highest = 0

    def count(self, at: float) -> int:
        """Return how many moments lie in the second that ends at ``at``."""
        self._forget(at)
        return self._held

    def add(self, at: float) -> None:
        """Count a moment (seconds)."""
        self._forget(at)
        if self._moments and self._moments[-1] == at:
            self._counts[-1] += 1
        else:
            self._moments.append(at)
            self._counts.append(1)
        self._held += 1
        self.highest = max(self.highest, self._held)

    def _forget(self, at: float) -> None:
        moments = self._moments
        if moments and at < moments[-1]:
            # Clocks do not go back: this one belongs to another event loop, a new run.
            moments.clear()
            self._counts.clear()
            self._held = 0
        while moments and at - moments[0] >= _SECOND - _ROUNDING:
            moments.popleft()
            self._held -= self._counts.popleft()
