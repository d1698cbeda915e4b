"""What the simulator counts: how often it dialled whom, and how requests came in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from telecmi_async.simulator.call import SimulatedCall
from telecmi_async.simulator.tally import Tally
from telecmi_async.simulator.window import Window

if TYPE_CHECKING:
    from telecmi_async.phone import Region
    from telecmi_async.simulator.incoming import Incoming

__all__ = ["RequestLog"]


class RequestLog:
    """Counts everything in full."""

    def __init__(self) -> None:
        self.arrivals = Window()
        self.requests = 0
        self.in_flight = 0
        self.max_in_flight = 0
        self.dialled_again: dict[int, int] = {}
        self._placed = Tally()
        self._failed: dict[int, int] = {}
        self._first_at = 0.0
        self._last_new = (0, 0.0)

    def arrive(self, at: float) -> None:
        """Note a request that came in at ``at`` (seconds)."""
        if not self.requests:
            self._first_at = at
        self.requests += 1
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        self.arrivals.add(at)

    def visit(self) -> None:
        """Note somebody who only looks; `leave` ends that, too."""
        self.in_flight += 1

    def leave(self) -> None:
        """Note that a request was answered, or that its client gave up."""
        self.in_flight -= 1

    def start_attempt(self, to: int, at: float) -> int:
        """Return which try for ``to`` this is, from 1."""
        attempt = self._placed[to] + self._failed.get(to, 0) + 1
        if attempt == 1:
            self._last_new = (self.requests, at)
        return attempt

    def fail(self, to: int) -> None:
        """Note a try for ``to`` that placed nothing."""
        self._failed[to] = self._failed.get(to, 0) + 1

    def place(
        self, incoming: Incoming, *, request_id: str, region: Region, attempt: int, at: float
    ) -> SimulatedCall:
        """Note a call as placed, and return its record."""
        call = SimulatedCall(
            to=incoming.to,
            from_=incoming.from_,
            request_id=request_id,
            at=at,
            region=region,
            attempt=attempt,
            pcmo=incoming.pcmo,
            extra_params=incoming.extra_params,
            duration=incoming.duration,
        )
        times = self._placed.add(call.to)
        if times > 1:
            self.dialled_again[call.to] = times
        return call

    def placed(self, to: int) -> int:
        """Return how often ``to`` was dialled."""
        return self._placed[to]

    def numbers(self) -> int:
        """Return how many different numbers were dialled."""
        return len(self._placed)

    def pace(self) -> float:
        """Return the requests a second from the first one to the last new number's."""
        requests, at = self._last_new
        elapsed = at - self._first_at
        return (requests - 1) / elapsed if elapsed > 0 else 0.0
