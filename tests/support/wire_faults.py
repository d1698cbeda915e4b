"""Faults of a server, and what each of them proves about the call."""

from __future__ import annotations

import gzip
import json
from typing import NamedTuple

import fault_server as fs

from telecmi_async import (
    AuthenticationError,
    CallOutcomeUnknown,
    CallRejected,
    CallStatus,
    RateLimited,
    Timeouts,
)

__all__ = [
    "BUSY",
    "ENDED",
    "FAULTS",
    "GATEWAY",
    "PATIENT",
    "READ",
    "REFUSED",
    "TOTAL",
    "Fault",
    "redirect",
]


REFUSED = json.dumps({"code": 420, "msg": "authentication failed"}).encode()


BUSY = json.dumps({"code": 429, "msg": "slow down"}).encode()


GATEWAY = b"<html><h1>Bad Gateway</h1></html>"


PATIENT = Timeouts(connect=5, write=5, read=5, total=10)


class Fault(NamedTuple):
    """A fault and its expected results.

    Args:
        script: What the server does.
        status: The status after a single attempt.
        error: What awaiting the call raises.
        complete: How many whole requests the server got in a single attempt.
        again: Whether the default policy retries it.
        failure: Whether the transport has no whole reply.
        impatient: Time-outs for faults in which nothing happens.
    """

    script: fs.Script
    status: CallStatus = CallStatus.UNKNOWN
    error: type[Exception] = CallOutcomeUnknown
    complete: int = 1
    again: bool = False
    failure: bool = True
    impatient: Timeouts = PATIENT

    @property
    def refuses(self) -> bool:
        """Whether the call was certainly rejected."""
        return self.status is CallStatus.REJECTED


def redirect(status: str) -> Fault:
    """Return a redirect to where the call would be accepted."""
    data = fs.reply(b"", status=status, headers="Location: /elsewhere\r\n")
    return Fault(fs.answering(data), CallStatus.REJECTED, CallRejected, failure=False)


READ = Timeouts(connect=5, write=5, read=0.05, total=10)


TOTAL = Timeouts(connect=5, write=5, read=5, total=0.5)


# The connection ends before the request. The client may notice that in time: nothing left then.
ENDED: dict[str, fs.Script] = {
    "close at once": fs.close_at_once,
    "reset at once": fs.reset_at_once,
    "bytes": fs.answers_unasked,
}


FAULTS: dict[str, Fault] = {
    # The server reads nothing of the request.
    "stall at once, read time-out": Fault(fs.stall_at_once, complete=0, impatient=READ),
    "stall at once, total time-out": Fault(fs.stall_at_once, complete=0, impatient=TOTAL),
    # It reads some of the request.
    "close after the head": Fault(fs.close_after_head, complete=0),
    "reset after the head": Fault(fs.reset_after_head, complete=0),
    # It reads the whole request, and sends no reply.
    "close after the body": Fault(fs.close_after_body),
    "reset after the body": Fault(fs.reset_after_body),
    "stall, read time-out": Fault(fs.stall_after_body, impatient=READ),
    "stall, total time-out": Fault(fs.stall_after_body, impatient=TOTAL),
    # It sends a part of a reply.
    "half a status line": Fault(fs.answering(b"HTTP/1.1 20")),
    "half the headers": Fault(fs.answering(b"HTTP/1.1 200 OK\r\nContent-Le")),
    "half the headers, then silence": Fault(
        fs.answering_and_silent(b"HTTP/1.1 200 OK\r\n"), impatient=READ
    ),
    "half a body": Fault(fs.answering(fs.reply(fs.ACCEPTED[:20], length=500))),
    "half a body, then silence": Fault(
        fs.answering_and_silent(fs.reply(fs.ACCEPTED[:20], length=500)), impatient=READ
    ),
    "half a refusal": Fault(
        fs.answering(fs.reply(REFUSED, status="420 No", length=len(REFUSED) + 1))
    ),
    "half a gateway's 502": Fault(
        fs.answering(fs.reply(GATEWAY, status="502 Bad Gateway", length=500))
    ),
    "reset in the body": Fault(fs.reset_in_reply),
    "half a chunk": Fault(
        fs.answering(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40\r\n{")
    ),
    "drip": Fault(fs.drip, impatient=TOTAL),
    "only an interim reply": Fault(fs.answering(b"HTTP/1.1 100 Continue\r\n\r\n")),
    # It sends something that is not a reply.
    "an upgrade": Fault(
        fs.answering(b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
    ),
    "garbage": Fault(fs.answering(b"\x00\xff\xfe" * 50 + b"\r\n\r\n")),
    "another protocol": Fault(fs.answering(b"SSH-2.0-Server\r\n")),
    "a bad chunk": Fault(
        fs.answering(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n")
    ),
    "two lengths": Fault(
        fs.answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}")
    ),
    "endless headers": Fault(fs.answering(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000)),
    "bad gzip": Fault(fs.answering(fs.reply(headers="Content-Encoding: gzip\r\n"))),
    "more than 1 MiB": Fault(fs.answering(fs.reply(b" " * (1 << 20) + fs.ACCEPTED))),
    "cut gzip": Fault(
        fs.answering(
            fs.reply(gzip.compress(fs.ACCEPTED)[:30], headers="Content-Encoding: gzip\r\n")
        )
    ),
    # It sends a whole reply that says nothing about the call.
    "no content": Fault(
        fs.answering(b"HTTP/1.1 204 No Content\r\n\r\n"),
        failure=False,
    ),
    "an empty 200": Fault(fs.answering(fs.reply(b"")), failure=False),
    "a captive portal": Fault(fs.answering(fs.reply(b"<html>Log in</html>")), failure=False),
    "a gateway's 500": Fault(fs.answering(fs.reply(GATEWAY, status="500 Oops")), failure=False),
    "a gateway's 504": Fault(
        fs.answering(fs.reply(GATEWAY, status="504 Gateway Timeout")), failure=False
    ),
    "a gateway's 502": Fault(
        fs.answering(fs.reply(GATEWAY, status="502 Bad Gateway")), again=True, failure=False
    ),
    # It rejects the call.
    "refused": Fault(
        fs.answering(fs.reply(REFUSED, status="420 No")),
        CallStatus.REJECTED,
        AuthenticationError,
        failure=False,
    ),
    "busy": Fault(
        fs.answering(fs.reply(BUSY, status="429 Busy")),
        CallStatus.REJECTED,
        RateLimited,
        again=True,
        failure=False,
    ),
    "moved": redirect("302 Found"),
    "moved, method kept": redirect("307 Temporary Redirect"),
    "moved permanently": redirect("308 Permanent Redirect"),
}
