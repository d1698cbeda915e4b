"""Request log: the newest requests and their answers, and how often each number was dialled."""

from __future__ import annotations

import itertools
import json
from collections import Counter, deque
from typing import Final, cast

from attrs import field, frozen

from telecmi_async.http_server import HttpResponse
from telecmi_async.simulator.fault import Breach, masked_or_none

_SECOND: Final = 1.0
# Schedules such as 0.02 s apart add up to 0.9999999999 s, which counts as a second.
_ROUNDING: Final = 1e-9
_NEVER_ANSWERED: Final = frozenset({Breach.RESET, Breach.CLOSE})
#: Bytes of a body that are kept: all of a usual request.
MOST_OF_BODY: Final = 16_384


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
        attempt: Which attempt for this number it was, from 1; ``None`` if it was refused before.
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
    to: int | None = field(default=None, repr=masked_or_none)
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
        #: The numbers of the requests that are kept.
        self.numbers = itertools.count(1)
        self.arrivals = SlidingWindow()
        self.requests = 0
        self.in_flight = 0
        self.max_in_flight = 0
        self.dialled_again: dict[int, int] = {}
        self.placed: Counter[int] = Counter()
        self._failed: Counter[int] = Counter()

    def arrive(self, at: float) -> None:
        """Count a request that came in at ``at`` (seconds)."""
        self.requests += 1
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        self.arrivals.add(at)

    def visit(self) -> None:
        """Count a request for the page as under way only; `leave` ends that, too."""
        self.in_flight += 1

    def leave(self) -> None:
        """Count a request as answered, or given up by its client."""
        self.in_flight -= 1

    def next_attempt(self, to: int) -> int:
        """Return which attempt for ``to`` is the next, from 1."""
        return self.placed[to] + self._failed[to] + 1

    def fail(self, to: int) -> None:
        """Count an attempt for ``to`` that placed nothing."""
        self._failed[to] += 1

    def place(self, to: int) -> None:
        """Count a call to ``to`` as placed."""
        self.placed[to] += 1
        if self.placed[to] > 1:
            self.dialled_again[to] = self.placed[to]


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
