"""Simulated replies: three success envelopes, refusals, and a gateway's 502.

TeleCMI's documentation, its example projects and its older pages show three shapes of a success.
Which one a live account sends is not documented, so the simulator has all three. No page shows the
body of a refusal: the one here has the keys that users' programs read. Users report refusals as an
HTTP status and as a code in a reply with status 200, so the simulator has both.
"""

from __future__ import annotations

import json
from enum import StrEnum, unique
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, assert_never

from attrs import frozen

from telecmi_async.http_server import HttpResponse
from telecmi_async.simulator.call import SimulatedCall
from telecmi_async.simulator.fault import Breach

if TYPE_CHECKING:
    from collections.abc import Mapping

#: How a code is spelt in a body: ``422``, or ``"cmi-422"`` as TeleCMI's older endpoints do.
Codes: TypeAlias = Literal["number", "cmi"]

_JSON: Final = "application/json; charset=utf-8"
_GATEWAY_PAGE: Final = (
    b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n"
    b"<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n</body>\r\n</html>\r\n"
)


@unique
class Envelope(StrEnum):
    """The shape of a success.

    From TeleCMI's v2 pages (A), its example projects (B) and its older pages (C).
    """

    #: ``request_id`` at the top and under ``data``, and ``code``.
    A = "A"
    #: ``request_id`` at the top, and ``cmi_code``.
    B = "B"
    #: ``request_id`` under ``data`` only, and ``code``.
    C = "C"


@frozen
class Decision:
    """What the simulator does about one request: an answer, after a delay in seconds.

    A call may have been placed although the reply does not show it. A breach happens to the
    connection instead of the reply, or while it is sent. ``to`` is the number in the request, and
    ``attempt`` counts the attempts for it; ``None`` if the request was refused before.
    """

    delay: float
    answer: HttpResponse
    call: SimulatedCall | None = None
    breach: Breach | None = None
    to: int | None = None
    attempt: int | None = None


def simulated_reply(
    status: int, body: bytes, *extra: tuple[str, str], content_type: str = _JSON
) -> HttpResponse:
    """Return a response with the header that marks the simulator."""
    headers = (("Content-Type", content_type), ("X-TeleCMI-Simulator", "1"), *extra)
    return HttpResponse(status, headers, body)


def json_reply(
    body: Mapping[str, object], status: int = 200, *extra: tuple[str, str]
) -> HttpResponse:
    """Return an answer in JSON."""
    return simulated_reply(status, json.dumps(body).encode("ascii"), *extra)


def accepted(request_id: str, *, envelope: Envelope, codes: Codes) -> HttpResponse:
    """Return the answer to a call that was placed."""
    code = _spelt(200, codes)
    progress = {"status": "progress"}
    known = {**progress, "request_id": request_id}
    match envelope:
        case Envelope.A:
            return json_reply({"data": known, **known, "code": code})
        case Envelope.B:
            return json_reply({"data": progress, **known, "cmi_code": code})
        case Envelope.C:
            return json_reply({"data": known, "code": code})
        case _:
            assert_never(envelope)


def refused(
    code: int,
    message: str,
    *,
    status: int | None = None,
    envelope: Envelope = Envelope.A,
    codes: Codes = "number",
    extra: tuple[tuple[str, str], ...] = (),
) -> HttpResponse:
    """Return a refusal as TeleCMI would send it.

    The code is in the body, and is the HTTP status as well, unless another ``status`` is given.
    The envelope, which is the shape of a success, decides the code's name.
    """
    key = "cmi_code" if envelope is Envelope.B else "code"
    body = {"status": "error", key: _spelt(code, codes), "msg": message}
    return json_reply(body, code if status is None else status, *extra)


def _spelt(code: int, codes: Codes) -> int | str:
    return f"cmi-{code}" if codes == "cmi" else code


def gateway_error() -> HttpResponse:
    """Return what a proxy in front of TeleCMI sends when it got no answer: HTML, not JSON."""
    return simulated_reply(502, _GATEWAY_PAGE, content_type="text/html")
