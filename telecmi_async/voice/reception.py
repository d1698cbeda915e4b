"""Reception: which connections are admitted, by their address, and which call each is of.

An address ends in ``/8000/tcm_….code``: the sample rate, and the reference of its call with a code
that only the account's secret gives (`telecmi_async.events.reference`). An inbound call's is
followed by TeleCMI's id of its leg, encrypted together with the reference. So any process that has
the secret knows the call of a connection. Only who has such an address can connect, and only
TeleCMI gets it, so the query is the caller's own as well.
"""

from __future__ import annotations

import logging
import re
from collections import Counter, OrderedDict
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

from attrs import frozen

from telecmi_async._internal.event_loop import current_loop, has_ended
from telecmi_async._internal.telecmi import REFERENCE_PATTERN, STREAM_PLACEHOLDER
from telecmi_async.events.reference import new_reference
from telecmi_async.voice.socket import Admission

if TYPE_CHECKING:
    from telecmi_async.calls.streamed_calls import StreamedCalls
    from telecmi_async.events import Event
    from telecmi_async.voice.session import StreamSession

logger = logging.getLogger("telecmi_async")

# Of an id that no call has, an address has nothing.
_LONGEST_SEALED: Final = 600
_ADDRESS: Final = re.compile(
    rf"/(?P<rate>8000|16000)/(?P<signed>{REFERENCE_PATTERN})"
    rf"(?:/(?P<sealed>[\w-]{{1,{_LONGEST_SEALED}}}))?/?\Z",
    re.ASCII,
)
_LONGEST: Final = 2_000
_LONGEST_QUERY: Final = 8_000
# Why an address is refused that is not merely forged.
_PLACEHOLDER_LEFT: Final = (
    f"its address has {STREAM_PLACEHOLDER} in place of a call's reference, which "
    "CallService(…, streams=streams) replaces; for an inbound call, answer with "
    "streams.answer(event)"
)
_OTHER_ACCOUNT: Final = "its address was signed with another secret"
_NO_ACCOUNT: Final = (
    "the streams know no secret: CallService(…, streams=streams), or Streams(url, secret=…) in a "
    "process that places no calls"
)
# How many connections a call may make, one after another.
_CONNECTIONS: Final = 8
# Of so many calls are connections counted, and inbound events kept.
_REMEMBERED: Final = 10_000
_INBOUND: Final = 1_000


@frozen(kw_only=True)
class StreamCounts:
    """What became of the connections so far.

    Args:
        connected: Connections that were served.
        forged: Connections without a genuine address, which were refused.
        refused: Genuine ones that were refused: there are ``max_sessions``, its call had eight,
            there is no handler, or the streams are closed.
        replaced: Sessions that ended because their call connected again.
        stalled: Sessions that ended because TeleCMI neither sent nor read for too long.
        failed: Sessions whose handler failed.
    """

    connected: int = 0
    forged: int = 0
    refused: int = 0
    replaced: int = 0
    stalled: int = 0
    failed: int = 0


class Reception:
    """Admits connections, and keeps the sessions that are open, one for each call."""

    def __init__(self, calls: StreamedCalls, *, max_sessions: int) -> None:
        self.counts: Counter[str] = Counter()
        #: Whether there is a handler, and whether the streams are closed.
        self.ready = self.closed = False
        #: The open sessions by reference.
        self.sessions: dict[str, StreamSession] = {}
        self._calls = calls
        self._max_sessions = max_sessions
        self._connections: OrderedDict[str, int] = OrderedDict()
        self._inbound: OrderedDict[str, Event] = OrderedDict()
        self._explained: set[str] = set()

    def address_for(self, event: Event) -> str:
        """Return the end of the address, without rate, at which an event's call connects."""
        account = self._calls.account()
        reference = account.find(event) or new_reference()
        self._inbound[reference] = event
        if len(self._inbound) > _INBOUND:
            self._inbound.popitem(last=False)
        signed = account.sign(reference)
        if event.cmiuuid is None:
            return signed
        sealed = account.encrypt(f"{reference} {event.cmiuuid}")
        return signed if len(sealed) > _LONGEST_SEALED else f"{signed}/{sealed}"

    def inbound(self, reference: str) -> Event | None:
        """Return the event of the inbound call with this reference, if it was answered here."""
        return self._inbound.get(reference)

    def identify(self, path: str) -> Admission | None:
        """Return which call a connection that asks for this path is of, or None if it is forged."""
        admission = self._read(path)
        if admission is None:
            self.counts["forged"] += 1
            if path.partition("?")[0].endswith(f"/{STREAM_PLACEHOLDER}"):
                self._explain(_PLACEHOLDER_LEFT)
        return admission

    def admit(self, path: str) -> Admission | None:
        """Return the connection that asks for this path, or None if it is to be refused."""
        admission = self.identify(path)
        if admission is not None and not self.may_enter(admission):
            self.counts["refused"] += 1
            return None
        return admission

    def _read(self, path: str) -> Admission | None:
        path, _, query = path.partition("?")
        if len(path) > _LONGEST or len(query) > _LONGEST_QUERY:
            return None
        found = _ADDRESS.search(path)
        if found is None:
            return None
        account = self._calls.account_of(found["signed"])
        if account is None:
            self._explain(_OTHER_ACCOUNT if self._calls.knows_an_account else _NO_ACCOUNT)
            return None
        reference, cmiuuid, signed = found[3], None, found["signed"]
        if (sealed := found["sealed"]) is not None:
            named, _, cmiuuid = (account.decrypt(sealed) or "").partition(" ")
            if named != reference:
                return None
            signed += f"/{sealed}"
        values = dict(parse_qsl(query, keep_blank_values=True))
        return Admission(reference, int(found["rate"]), cmiuuid, values, signed)

    def _explain(self, why: str) -> None:
        """Log why an address is refused, each reason once: anyone can send such addresses."""
        if why not in self._explained:
            self._explained.add(why)
            logger.warning("a stream is refused: %s", why)

    def may_enter(self, admission: Admission) -> bool:
        """Return whether there is room for a connection."""
        reference = admission.reference
        if len(self.sessions) >= self._max_sessions:
            self._forget_ended_loops()
        return (
            self.ready
            and not self.closed
            and self._connections.get(reference, 0) < _CONNECTIONS
            and (reference in self.sessions or len(self.sessions) < self._max_sessions)
        )

    def _forget_ended_loops(self) -> None:
        """Forget sessions whose event loop was closed while they went on."""
        for session in list(self.sessions.values()):
            if has_ended(session.loop):
                self.leave(session)

    def enter(self, session: StreamSession) -> None:
        """Keep a session; an open one of the same call ends, since TeleCMI connects again."""
        reference = session.reference
        self.counts["connected"] += 1
        self._connections[reference] = self._connections.get(reference, 0) + 1
        self._connections.move_to_end(reference)
        if len(self._connections) > _REMEMBERED:
            self._connections.popitem(last=False)
        if (old := self.sessions.pop(reference, None)) is not None:
            self.counts["replaced"] += 1
            if old.loop is current_loop():  # another one may be closed, or in another thread
                old.end("another connection of its call replaced it")
        self.sessions[reference] = session

    def leave(self, session: StreamSession) -> None:
        """Forget a session."""
        if self.sessions.get(session.reference) is session:
            del self.sessions[session.reference]
