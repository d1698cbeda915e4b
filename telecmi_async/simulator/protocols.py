"""Protocols of the simulator: what its fronts and its page need of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractAsyncContextManager

    from telecmi_async.simulator.call import SimulatedCall
    from telecmi_async.simulator.fault import Faults
    from telecmi_async.simulator.replies import Decision
    from telecmi_async.simulator.webhooks import Delivery, Webhooks

__all__ = ["PageModel", "RequestHandler"]


class RequestHandler(Protocol):
    """Decides about requests; `Simulator` does."""

    def receive(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
        *,
        at: float,
        local: bool = True,
    ) -> Decision:
        """Return what becomes of one request; the caller must call `leave` once."""
        ...

    def leave(self) -> None:
        """Note that a request that was received is no longer under way."""
        ...

    def running(self) -> AbstractAsyncContextManager[None]:
        """Let time pass in calls while the context is open."""
        ...


class PageModel(Protocol):
    """What the page shows and changes; `Simulator` has it, and documents it."""

    speed: float
    magic: bool
    webhooks: Webhooks
    faults: Faults

    @property
    def requests(self) -> int:
        """How many requests arrived."""
        ...

    @property
    def calls(self) -> tuple[SimulatedCall, ...]:
        """The newest calls, oldest first."""
        ...

    @property
    def live(self) -> tuple[SimulatedCall, ...]:
        """The calls that are not over yet, or wait for their records."""
        ...

    @property
    def now(self) -> float:
        """The time in calls, in seconds."""
        ...

    @property
    def deliveries(self) -> tuple[Delivery, ...]:
        """The newest messages, oldest first."""
        ...

    def call(self, request_id: str) -> SimulatedCall:
        """Return the call that has an id; `LookupError` if there is none."""
        ...

    def trace(self) -> str:
        """Return a hash of everything that happened."""
        ...

    def numbers(self) -> int:
        """Return how many different numbers were dialled."""
        ...

    def busiest_second(self) -> int:
        """Return the most requests within a second."""
        ...

    def duplicates(self) -> int:
        """Return how many numbers were dialled more than once."""
        ...

    def advance(self, seconds: float) -> None:
        """Let time pass in calls."""
        ...

    def send_again(self, delivery: Delivery) -> None:
        """Send a message once more."""
        ...
