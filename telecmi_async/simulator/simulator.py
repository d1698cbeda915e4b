"""TeleCMI on this machine: it answers like TeleCMI and dials nobody.

The rules are here and know neither a network nor a clock: `Simulator.receive` is told what
came in and when, and says what to answer, after how long, and which call was placed. The
fronts bring requests to it: `telecmi_async.simulator.transport` within the process,
`telecmi_async.simulator.server` on a port.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, Literal

import httpx
from attrs import Factory, define, field

from telecmi_async._settings import one_of, share, whole_or_none
from telecmi_async.credentials import Credentials
from telecmi_async.phone import Region, mask, parse_number
from telecmi_async.simulator import answer, dice
from telecmi_async.simulator.answer import Codes, Decision, Envelope
from telecmi_async.simulator.connection import Limits
from telecmi_async.simulator.incoming import Unacceptable, read_incoming
from telecmi_async.simulator.ledger import Ledger
from telecmi_async.simulator.options import (
    check_seed,
    parse_envelope,
    parse_files,
    parse_latency,
)
from telecmi_async.simulator.server import serve
from telecmi_async.simulator.transport import SimulatorTransport
from telecmi_async.simulator.window import Window

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping
    from contextlib import AbstractAsyncContextManager

    from telecmi_async.service import CallService
    from telecmi_async.simulator.answer import Answer
    from telecmi_async.simulator.incoming import Incoming
    from telecmi_async.simulator.ledger import SimulatedCall

__all__ = ["Simulator"]

_ENDPOINTS: Final = {
    "/v2/global_pcmo_make_call": Region.GLOBAL,
    "/v2/ind_pcmo_make_call": Region.INDIA,
}
_NAMED_AT_MOST: Final = 5


@define(kw_only=True, eq=False)
class Simulator:
    """TeleCMI's make-call API on this machine, with a memory of what it dialled.

    What it answers follows from its seed, the number dialled and how often that number was
    tried: in every run, in whatever order calls arrive.

    Args:
        seed: What all chance follows from, an int or a str.
        app_id: The app id it takes; another gets 420.
        secret: The secret that belongs to it.
        latency: Seconds before it answers, or the shortest and the longest.
        envelope: The shape of a success; see `Envelope`.
        refusals: Where it says no: ``"status"`` in the HTTP status and the body, ``"body"``
            in the body alone, under a status of 200. TeleCMI's users report both.
        codes: How codes in the body are spelt: ``"number"`` for 422, ``"cmi"`` for
            ``"cmi-422"``, as TeleCMI's older endpoints do.
        error_502_share: Which share of tries gets a 502, from 0 to 1.
        error_502_kind: ``"vendor"`` for TeleCMI's own words, and nothing is placed;
            ``"gateway"`` for a proxy's page, and the call may have been placed.
        gateway_placed_share: For which share of a gateway's 502s the call was placed.
        files: The names of the files that were uploaded; another name gets 404. ``None`` for
            any name.
        missing_code: The code for a missing property; TeleCMI documents 422, 501 and 502.
        calls_per_second: More calls than this in any one-second window get 429 and
            ``Retry-After: 1``; ``None`` for no limit.
        keep: How many of the newest calls stay in `calls`, ``None`` for all. Counts are
            always complete.

    Raises:
        ConfigurationError: An option cannot be right; the message names it.
    """

    seed: int | str = field(default=0, validator=check_seed)
    app_id: int = 2222226
    secret: str = field(default="simulated-secret", repr=False)
    latency: tuple[float, float] = field(default=(0.0, 0.0), converter=parse_latency)
    envelope: Envelope = field(default=Envelope.A, converter=parse_envelope)
    refusals: Literal["status", "body"] = field(
        default="status", validator=one_of("status", "body")
    )
    codes: Codes = field(default="number", validator=one_of("number", "cmi"))
    error_502_share: float = field(default=0.0, validator=share)
    error_502_kind: Literal["vendor", "gateway"] = field(
        default="vendor", validator=one_of("vendor", "gateway")
    )
    gateway_placed_share: float = field(default=0.5, validator=share)
    files: frozenset[str] | None = field(default=None, converter=parse_files)
    missing_code: int = field(default=422, validator=one_of(422, 501, 502))
    calls_per_second: int | None = field(default=None, validator=whole_or_none(1))
    keep: int | None = field(default=1_000, validator=whole_or_none(0))
    _ledger: Ledger = field(
        init=False, repr=False, default=Factory(lambda self: Ledger(self.keep), takes_self=True)
    )
    _admitted: Window = field(init=False, repr=False, factory=Window)

    def __attrs_post_init__(self) -> None:
        # What a service would refuse could only ever be answered with 420.
        credentials = Credentials(self.app_id, self.secret)
        self.app_id = credentials.app_id
        self.secret = credentials.secret.reveal()

    # -- what it was asked, and what it dialled

    @property
    def requests(self) -> int:
        """How many requests arrived, those that were refused included."""
        return self._ledger.requests

    @property
    def calls(self) -> tuple[SimulatedCall, ...]:
        """The newest calls that were placed, oldest first, at most ``keep`` of them."""
        return tuple(self._ledger.calls)

    @property
    def max_in_flight(self) -> int:
        """The most requests that ever waited for their answers at the same time."""
        return self._ledger.max_in_flight

    def placed(self, to: int | str) -> int:
        """Return how often a number was dialled."""
        return self._ledger.placed(parse_number(to, "to"))

    def numbers(self) -> int:
        """Return how many different numbers were dialled."""
        return self._ledger.numbers()

    def busiest_second(self) -> int:
        """Return the most requests that arrived in any window of one second."""
        return self._ledger.arrivals.highest

    def pace(self) -> float:
        """Return how many requests a second arrived while there was still a new number.

        Counted are first tries and retries alike, from the first request to the first try
        for the number that came last; what follows is only late retries. 0.0 before there
        is anything to measure.
        """
        return self._ledger.pace()

    def duplicates(self) -> int:
        """Return how many numbers were dialled more than once."""
        return len(self._ledger.dialled_again)

    def no_duplicates(self) -> None:
        """Check that no number was dialled twice.

        Raises:
            AssertionError: Some were; it names them, masked.
        """
        again = self._ledger.dialled_again
        if again:
            shown = [f"{mask(to)} ({again[to]} times)" for to in sorted(again)[:_NAMED_AT_MOST]]
            rest = f" and {len(again) - len(shown)} more" if len(again) > len(shown) else ""
            raise AssertionError(f"dialled more than once: {', '.join(shown)}{rest}")

    # -- the fronts

    def transport(self) -> SimulatorTransport:
        """Return a transport for an `httpx.AsyncClient` that needs no network."""
        return SimulatorTransport(self)

    def serve(
        self, host: str = "127.0.0.1", port: int = 0, *, limits: Limits | None = None
    ) -> AbstractAsyncContextManager[str]:
        """Listen on a port: ``async with simulator.serve() as base_url``.

        Args:
            host: The address to listen on. Only this machine reaches the default.
            port: The port, or 0 for any free one.
            limits: Sizes and times that clients are held to.

        Returns:
            A context manager that gives the ``base_url`` for a `CallService`. Leaving it
            answers what was asked and closes the port.
        """
        return serve(self, host=host, port=port, limits=limits or Limits())

    @asynccontextmanager
    async def service(self, **options: Any) -> AsyncGenerator[CallService]:
        """Open a `CallService` whose calls all end here, in process.

        Args:
            options: The service's own, such as ``rate`` and ``retry``.
        """
        from telecmi_async.service import CallService  # noqa: PLC0415  # see below

        # The simulator is also used by itself, and the service is most of the package.
        async with (
            httpx.AsyncClient(transport=self.transport()) as client,
            CallService(self.app_id, self.secret, http_client=client, **options) as service,
        ):
            yield service

    # -- the rules

    def receive(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes, *, at: float
    ) -> Decision:
        """Take one request, and say what becomes of it.

        Whoever calls this must call `leave` exactly once, when the answer was sent or nobody
        waits for it any more, whatever happens in between. It never raises.

        Args:
            method: ``"POST"``, if all is well.
            path: The path asked for, with its query.
            headers: The headers, by lower-case name.
            body: The body.
            at: When it arrived, in seconds on the event loop's clock.
        """
        self._ledger.arrive(at)
        region = _ENDPOINTS.get(path.partition("?")[0])
        if region is None:
            return self._after_latency(answer.refused(404, "not found"))
        if method != "POST":
            return self._after_latency(
                answer.refused(405, "method not allowed", extra=(("Allow", "POST"),))
            )
        return self._make_call(headers, body, region, at)

    def leave(self) -> None:
        """Note that a request that was received is no longer under way."""
        self._ledger.leave()

    def _make_call(
        self, headers: Mapping[str, str], body: bytes, region: Region, at: float
    ) -> Decision:
        """Refuse what TeleCMI would refuse, and dial the rest."""
        try:
            incoming = read_incoming(headers.get("content-type", ""), body)
        except Unacceptable as refusal:
            return self._refuse(self.missing_code if refusal.missing else 422, refusal.message)
        if (incoming.appid, incoming.secret) != (self.app_id, self.secret):
            return self._refuse(420, "authentication failed")
        if self.calls_per_second is not None:
            if self._admitted.count(at) >= self.calls_per_second:
                return self._refuse(429, "too many requests", ("Retry-After", "1"))
            self._admitted.add(at)
        if self.files is not None and not self.files.issuperset(incoming.file_names()):
            return self._refuse(404, "the file name is invalid")
        return self._dial(incoming, region, at)

    def _dial(self, incoming: Incoming, region: Region, at: float) -> Decision:
        """Place a call that nothing is wrong with, unless chance wants a 502."""
        to = incoming.to
        attempt = self._ledger.start_attempt(to, at)
        delay = self._delay(to, attempt)
        reply: Answer | None = None
        if self._chance(self.error_502_share, "502", to, attempt):
            if self.error_502_kind == "vendor":
                reply = self._refusal(502, "the property required is missing")
                placed = False
            else:
                reply = answer.gateway_error()
                placed = self._chance(self.gateway_placed_share, "placed", to, attempt)
            if not placed:
                self._ledger.fail(to)
                return Decision(delay, reply)
        request_id = dice.request_id(self.seed, to, attempt)
        call = self._ledger.place(
            incoming, request_id=request_id, region=region, attempt=attempt, at=at
        )
        return Decision(delay, reply or self._acceptance(request_id), call)

    def _chance(self, share: float, purpose: str, to: int, attempt: int) -> bool:
        return share > 0 and dice.draw(self.seed, purpose, to, attempt) < share

    def _delay(self, to: int, attempt: int) -> float:
        shortest, longest = self.latency
        if shortest == longest:
            return shortest
        return shortest + (longest - shortest) * dice.draw(self.seed, "latency", to, attempt)

    def _refuse(self, code: int, message: str, *extra: tuple[str, str]) -> Decision:
        return self._after_latency(self._refusal(code, message, *extra))

    def _after_latency(self, reply: Answer) -> Decision:
        return Decision(self.latency[0], reply)

    def _acceptance(self, request_id: str) -> Answer:
        return answer.accepted(request_id, envelope=self.envelope, codes=self.codes)

    def _refusal(self, code: int, message: str, *extra: tuple[str, str]) -> Answer:
        return answer.refused(
            code,
            message,
            status=200 if self.refusals == "body" else code,
            envelope=self.envelope,
            codes=self.codes,
            extra=extra,
        )
