"""Simulated API: the reply of each of TeleCMI's paths, without network, clock, or tasks.

========================================  ==================================================
``/v2/global_pcmo_make_call``             places a call
``/v2/ind_pcmo_make_call``                the same, within India
``/v2/piopiy/get_channels``               how many calls are live
``/v1/piopiy/requestid_cdr``              the records of a call, by its ``request_id``
``/v1/piopiy/cmiuuid_cdr``                the record of a leg, by its ``cmiuuid``
``/v1/call/action``, ``global_action``    ``hangup``, ``hold``, ``unhold``, ``holdToggle``
========================================  ==================================================

TeleCMI has those under ``/v1`` on another host; here all are on one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from telecmi_async._internal.telecmi import MAKE_CALL_PATHS
from telecmi_async.phone import Region
from telecmi_async.simulator import chance, replies
from telecmi_async.simulator.call import SimulatedCall
from telecmi_async.simulator.callee import magic_for
from telecmi_async.simulator.fault import FaultKind
from telecmi_async.simulator.replies import Decision
from telecmi_async.simulator.request_log import SlidingWindow
from telecmi_async.simulator.requests import BadRequest, read_fields, read_make_call

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from telecmi_async.http_server import HttpResponse
    from telecmi_async.simulator.options import SimulatorOptions
    from telecmi_async.simulator.request_log import RequestLog
    from telecmi_async.simulator.requests import MakeCallRequest
    from telecmi_async.simulator.world import World

_MAKE_CALL: Final = {f"/v2{path}": Region(name) for name, path in MAKE_CALL_PATHS.items()}
_COMMANDS: Final = frozenset({"hangup", "hold", "unhold", "holdToggle"})
_RETRY_AFTER: Final = ("Retry-After", "1")
_REFUSALS: Final[Mapping[FaultKind, tuple[int, str, tuple[tuple[str, str], ...]]]] = {
    FaultKind.VENDOR_502: (502, "the property required is missing", ()),
    FaultKind.CREDENTIALS: (420, "authentication failed", ()),
    FaultKind.MISSING_PROPERTY: (422, "the property required is missing", ()),
    FaultKind.RATE_LIMITED: (429, "too many requests", (_RETRY_AFTER,)),
    FaultKind.UNAVAILABLE: (503, "try again", (_RETRY_AFTER,)),
}
# Longer than any sensible time-out.
_SLOW_SECONDS: Final = 600.0


class SimulatedApi:
    """Answers the requests to one simulator, by its options at that time."""

    def __init__(self, options: SimulatorOptions, log: RequestLog, world: World) -> None:
        self._options = options
        self._log = log
        self._world = world
        self._admitted = SlidingWindow()

    def answer(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes, at: float
    ) -> Decision | None:
        """Return the decision about a request; ``None`` if there is nothing at its path."""
        region = _MAKE_CALL.get(path)
        look_up = {
            "/v2/piopiy/get_channels": self._channels,
            "/v1/piopiy/requestid_cdr": self._records,
            "/v1/piopiy/cmiuuid_cdr": self._record,
            "/v1/call/action": self._command,
            "/v1/call/global_action": self._command,
        }.get(path)
        if region is None and look_up is None:
            return None
        if method != "POST":
            refusal = replies.refused(405, "method not allowed", extra=(("Allow", "POST"),))
            return self._after_latency(refusal)
        if look_up is not None:
            return self._after_latency(self._looked_up(path, look_up, headers, body))
        return self._make_call(headers, body, region or Region.GLOBAL, at)

    # -- calls

    def _make_call(
        self, headers: Mapping[str, str], body: bytes, region: Region, at: float
    ) -> Decision:
        """Refuse requests that TeleCMI would refuse, and dial the others."""
        options = self._options
        try:
            incoming = read_make_call(headers.get("content-type", ""), body)
        except BadRequest as refusal:
            code = options.missing_code if refusal.missing else 422
            return self._refuse(code, refusal.message)
        to = incoming.to
        if (incoming.appid, incoming.secret) != (options.app_id, options.secret):
            return self._refuse(420, "authentication failed", to=to)
        if options.calls_per_second is not None:
            if self._admitted.count(at) >= options.calls_per_second:
                return self._refuse(429, "too many requests", _RETRY_AFTER, to=to)
            self._admitted.add(at)
        if options.files is not None and not options.files.issuperset(incoming.file_names()):
            return self._refuse(404, "the file name is invalid", to=to)
        return self._dial(incoming, region, at)

    def _dial(self, incoming: MakeCallRequest, region: Region, at: float) -> Decision:
        """Place a valid call, unless a fault prevents it."""
        options, to = self._options, incoming.to
        attempt = self._log.next_attempt(to)
        delay = chance.draw_between(options.latency, options.seed, "latency", to, attempt)
        request_id = chance.request_id(options.seed, to, attempt)
        fault, breach = self._fault(to, attempt), None
        if fault is None:
            reply = replies.accepted(request_id, envelope=options.envelope, codes=options.codes)
        else:
            reply, breach = self._faulty(fault), fault.breach
            if not fault.placed:
                self._log.fail(to)
                return Decision(delay, reply, None, breach, to, attempt)
            if fault is FaultKind.SLOW:
                delay = _SLOW_SECONDS
        self._log.place(to)
        call = SimulatedCall(
            to=to,
            from_=incoming.from_,
            request_id=request_id,
            at=at,
            region=region,
            attempt=attempt,
            pcmo=incoming.pcmo,
            extra_params=incoming.extra_params,
            duration=incoming.duration,
        )
        if options.life is None:
            self._world.remember(call)
        else:
            self._world.begin(call)
        return Decision(delay, reply, call, breach, to, attempt)

    def _fault(self, to: int, attempt: int) -> FaultKind | None:
        """Return the fault of an attempt: by its number, by a rule, or by the share of 502s."""
        options = self._options
        magic = magic_for(to) if options.magic else None
        # A magic number is left alone by rules and shares.
        if magic is not None:
            hit = magic.fault is not None and magic.fault.hits(options.seed, 0, to, attempt)
            return magic.fault.kind if hit and magic.fault else None
        found = options.faults.find(options.seed, to, attempt)
        if found is not None or not self._chance(options.error_502_share, "502", to, attempt):
            return found
        if options.error_502_kind == "vendor":
            return FaultKind.VENDOR_502
        if self._chance(options.gateway_placed_share, "placed", to, attempt):
            return FaultKind.GATEWAY_502_PLACED
        return FaultKind.GATEWAY_502

    def _faulty(self, fault: FaultKind) -> HttpResponse:
        """Return the reply of a fault; the connection may break before it arrives."""
        match fault:
            case FaultKind.GATEWAY_502 | FaultKind.GATEWAY_502_PLACED:
                return replies.gateway_error()
            case FaultKind.CREDENTIALS_IN_200:
                return replies.refused(420, "authentication failed", status=200)
            case FaultKind.NO_JSON:
                return replies.simulated_reply(
                    200, b"<html>welcome</html>", content_type="text/html"
                )
            case _ if fault in _REFUSALS:
                code, message, extra = _REFUSALS[fault]
                return self._refusal(code, message, *extra)
            case _:  # replies that are lost, late or broken off, or lack a request_id
                return replies.json_reply({"status": "progress", "code": 200})

    # -- look-ups and commands

    def _looked_up(
        self,
        path: str,
        look_up: Callable[[Mapping[str, object]], HttpResponse],
        headers: Mapping[str, str],
        body: bytes,
    ) -> HttpResponse:
        options = self._options
        # Wrong credentials are 407 for channels and 404 for records, by TeleCMI's pages.
        wrong = 407 if path.endswith("get_channels") else 404
        try:
            fields = read_fields(headers.get("content-type", ""), body)
        except BadRequest as refusal:
            return self._refusal(wrong, refusal.message)
        if (fields.get("appid"), fields.get("secret")) != (options.app_id, options.secret):
            return self._refusal(wrong, "authentication failed")
        return look_up(fields)

    def _channels(self, _: Mapping[str, object]) -> HttpResponse:
        return replies.json_reply({"code": 200, "channel": str(self._world.in_use())})

    def _records(self, fields: Mapping[str, object]) -> HttpResponse:
        call = self._world.find(str(fields.get("request_id")))
        rows = [self._world.look_up(leg) for leg in reversed(call.legs)] if call else []
        found = [row for row in rows if row is not None]
        if not found:
            return self._refusal(404, "not found")
        return replies.json_reply({"count": len(found), "cdr": found, "code": 200})

    def _record(self, fields: Mapping[str, object]) -> HttpResponse:
        found = self._world.find_leg(str(fields.get("cmiuuid")))
        record = self._world.look_up(found[1]) if found else None
        if record is None:
            return self._refusal(404, "not found")
        return replies.json_reply({"cdr": record, "code": 200})

    def _command(self, fields: Mapping[str, object]) -> HttpResponse:
        action = fields.get("action")
        found = self._world.find_leg(str(fields.get("cmiuuid", fields.get("cmiuid"))))
        if found is None or action not in _COMMANDS:
            return self._refusal(404, "not found")
        if not self._world.command_leg(*found, str(action)):
            return self._refusal(404, "the call is over")
        return replies.json_reply({"code": 200, "status": "success"})

    # -- helpers

    def _chance(self, share: float, purpose: str, to: int, attempt: int) -> bool:
        return share > 0 and chance.draw(self._options.seed, purpose, to, attempt) < share

    def _refuse(
        self, code: int, message: str, *extra: tuple[str, str], to: int | None = None
    ) -> Decision:
        return self._after_latency(self._refusal(code, message, *extra), to)

    def _after_latency(self, reply: HttpResponse, to: int | None = None) -> Decision:
        return Decision(self._options.latency[0], reply, to=to)

    def _refusal(self, code: int, message: str, *extra: tuple[str, str]) -> HttpResponse:
        options = self._options
        return replies.refused(
            code,
            message,
            status=200 if options.refusals == "body" else code,
            envelope=options.envelope,
            codes=options.codes,
            extra=extra,
        )
