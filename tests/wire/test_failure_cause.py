"""Failure causes: what is said of an error that kept a request from being sent."""

from __future__ import annotations

import errno
import itertools
import os
import socket
import ssl
from typing import Any

import anyio
import httpcore
import httpx
import pytest

from telecmi_async.wire.failure_cause import describe

PEER = "rest.example:443"
SECRET = "not-to-be-seen"


def linked(*errors: BaseException, hidden: bool = False) -> BaseException:
    """Return the first error, caused by the second, and so on; or only in their context."""
    for error, cause in itertools.pairwise(errors):
        error.__cause__, error.__context__ = (None, cause) if hidden else (cause, cause)
        error.__suppress_context__ = True
    return errors[0]


def tls_error(reason: str | None, kind: type[ssl.SSLError] = ssl.SSLError) -> ssl.SSLError:
    """Return an error of OpenSSL's with a reason."""
    error = kind(1, SECRET)
    error.reason = reason  # type: ignore[assignment]  # it is None in errors made by libraries
    return error


def untrusted(message: str) -> ssl.SSLCertVerificationError:
    """Return the error of a certificate that was not accepted."""
    error = ssl.SSLCertVerificationError(1, SECRET)
    error.verify_message = message
    return error


def oserror(number: int) -> OSError:
    """Return an error of the operating system's, with a text that must not be shown."""
    return OSError(number, SECRET)


class LikeAiohttp(OSError):
    """A library's own error with a number of a name look-up in `errno`."""


class SelfMade(ssl.SSLCertVerificationError):
    """A library's own error without OpenSSL's attributes."""

    def __init__(self) -> None:
        super().__init__(1, SECRET)


CAUSES: dict[str, tuple[BaseException, str]] = {
    "refused": (oserror(errno.ECONNREFUSED), "connection refused"),
    "reset": (oserror(errno.ECONNRESET), "connection reset by peer"),
    "network unreachable": (oserror(errno.ENETUNREACH), "network is unreachable"),
    "host unreachable": (oserror(errno.EHOSTUNREACH), "no route to host"),
    "out of file descriptors": (oserror(errno.EMFILE), "too many open files"),
    "system's time-out": (oserror(errno.ETIMEDOUT), "connection timed out"),
    "unknown host": (socket.gaierror(socket.EAI_NONAME, SECRET), "name not known"),
    "resolver down": (socket.gaierror(socket.EAI_AGAIN, SECRET), "name look-up failed"),
    "time-out": (TimeoutError(), "timed out"),
    "untrusted": (
        untrusted("self-signed certificate"),
        "certificate verify failed: self-signed certificate",
    ),
    "control characters": (
        untrusted("self\x1b[31m\nsigned"),
        "certificate verify failed: self[31msigned",
    ),
    "untrusted, no reason": (SelfMade(), "certificate verify failed"),
    "untrusted, in a library's words": (
        linked(SelfMade(), untrusted("certificate has expired")),
        "certificate verify failed: certificate has expired",
    ),
    "no tls": (tls_error("WRONG_VERSION_NUMBER"), "TLS failed: wrong version number"),
    "tls, no reason": (tls_error(None), "TLS failed"),
    "tls, a foreign reason": (tls_error(f"{SECRET} x"), "TLS failed"),
    "tls was waiting": (
        linked(TimeoutError(), tls_error(None, ssl.SSLWantReadError)),
        "timed out",
    ),
    "proxy": (httpx.ProxyError(f"407 {SECRET}"), "proxy refused: HTTP 407"),
    "proxy, like aiohttp": (
        httpx.ProxyError(f"407, message='{SECRET}'"),
        "proxy refused: HTTP 407",
    ),
    "socks proxy": (httpx.ProxyError(f"Proxy Server could not: {SECRET}"), "proxy refused"),
    "a number that is no status": (httpx.ProxyError("40711"), "proxy refused"),
    "pool": (httpx.PoolTimeout(SECRET), "no connection was free in time"),
    "closed": (linked(httpx.ReadError(SECRET), anyio.EndOfStream()), "connection closed"),
    "closed, said to be late": (
        linked(
            httpx.ConnectTimeout(SECRET), type("ServerDisconnectedError", (Exception,), {})()
        ),
        "connection closed",
    ),
    "garbage": (httpx.RemoteProtocolError(SECRET), "no valid reply"),
    "hidden by `from None`": (
        linked(httpcore.ConnectError(SECRET), oserror(errno.ECONNREFUSED), hidden=True),
        "connection refused",
    ),
    "a group": (
        ExceptionGroup(
            SECRET,
            [oserror(errno.ECONNREFUSED), ExceptionGroup("", [oserror(errno.ENETUNREACH)])],
        ),
        "connection refused, network is unreachable",
    ),
    "the same twice": (
        ExceptionGroup("", [oserror(errno.ECONNREFUSED), oserror(errno.ECONNREFUSED)]),
        "connection refused",
    ),
    "a library's number": (
        linked(LikeAiohttp(8, SECRET), socket.gaierror(socket.EAI_NONAME, SECRET)),
        "name not known",
    ),
    "many": (
        ExceptionGroup("", [oserror(number) for number in range(1, 40)]),
        ", ".join(os.strerror(n)[0].lower() + os.strerror(n)[1:] for n in (1, 2, 3)),
    ),
}


@pytest.mark.parametrize("name", CAUSES)
def test_a_cause_is_named(name: str) -> None:
    """The cause at the end of a chain is named in safe words, with the address."""
    cause, words = CAUSES[name]
    for error in (
        cause,
        linked(httpx.ConnectError(SECRET), httpcore.ConnectError(SECRET), cause),
    ):
        said = describe(error, PEER)

        assert said == f"{type(error).__name__} ({words}) at {PEER}"
        assert SECRET not in said


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError(SECRET),
        OSError(SECRET),
        OSError("x", SECRET),
        KeyError(SECRET),
        httpx.LocalProtocolError(SECRET),
        tls_error(None, ssl.SSLWantWriteError),
    ],
)
def test_an_error_without_a_known_cause_is_named_by_its_class(error: Exception) -> None:
    """Nothing of a foreign text is shown, and no address is blamed."""
    assert describe(error, PEER) == type(error).__name__


def test_a_chain_that_bites_its_tail_ends() -> None:
    """Exceptions that lead to each other are read once each."""
    first, second = RuntimeError(), OSError(errno.ECONNREFUSED, "")
    first.__cause__, second.__cause__ = second, first

    assert describe(first, PEER) == f"RuntimeError (connection refused) at {PEER}"


def test_a_long_chain_is_read_up_to_a_bound() -> None:
    """A chain that a library made by retrying for hours costs no time."""
    errors: list[Any] = [RuntimeError() for _ in range(10_000)]

    assert describe(linked(*errors, oserror(errno.ECONNREFUSED)), PEER) == "RuntimeError"
