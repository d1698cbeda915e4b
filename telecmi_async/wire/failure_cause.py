"""Failure cause: why a connection could not be made, in words that are safe to show.

httpx says "ConnectError" for a refused port, an unknown host and an untrusted certificate alike.
What happened stands further down the chain of exceptions. Their texts are foreign: they may
quote a header, a proxy's password or a server's words. So only what the operating system and
OpenSSL say of their own codes is shown.
"""

from __future__ import annotations

import os
import re
import socket
import ssl
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Iterator

_MOST_LINKS = 32
_MOST_CAUSES = 3
_LONGEST = 120
_OPENSSL_REASON = re.compile(r"[A-Z0-9_]{1,80}")
_HTTP_STATUS = re.compile(r"([1-5]\d\d)(?!\d)")

_UNKNOWN_NAME = frozenset(
    {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}  # not on every system
)
# By class name: each HTTP library has its own classes.
_NAMED = {
    "PoolTimeout": "no connection was free in time",
    "ConnectTimeout": "timed out",
    "ReadTimeout": "timed out",
    "WriteTimeout": "timed out",
    "TooSlowError": "timed out",
    "BrokenResourceError": "connection closed",
    "EndOfStream": "connection closed",
    "ServerDisconnectedError": "connection closed",
    "RemoteProtocolError": "no valid reply",
}
_VAGUE = frozenset({"timed out", "connection closed", "no valid reply"})


def describe(error: BaseException, host_port: str) -> str:
    """Describe why a request could not be sent, with the address it was meant for.

    For example "ConnectError (connection refused) at rest.telecmi.com:443". An error without a
    known cause is named by its class alone, since it may have nothing to do with the address.
    """
    name = type(error).__name__
    causes = list(dict.fromkeys(filter(None, map(_cause, _chain(error)))))
    # Several layers notice a failure; what the innermost knows says more.
    causes = [cause for cause in causes if cause not in _VAGUE] or causes[-1:]
    causes = [a for a in causes if not any(b.startswith(f"{a}:") for b in causes)]
    if not causes:
        return name
    return f"{name} ({', '.join(causes[:_MOST_CAUSES])}) at {host_port}"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, what led to it (even where it is hidden) and members of groups, once."""
    waiting, seen = [error], set[int]()
    while waiting and len(seen) < _MOST_LINKS:
        link = waiting.pop(0)
        if id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        if isinstance(link, BaseExceptionGroup):
            waiting += cast("BaseExceptionGroup[BaseException]", link).exceptions
        waiting += [more for more in (link.__cause__, link.__context__) if more is not None]


def _cause(error: BaseException) -> str | None:
    """Return what one exception of a chain says, in safe words."""
    match error:
        case ssl.SSLError():
            return _tls(error)
        case socket.gaierror():
            return "name not known" if error.errno in _UNKNOWN_NAME else "name look-up failed"
        # Libraries derive from OSError as well, and put other numbers into its errno.
        case OSError(errno=int(number)) if type(error).__module__ == "builtins" and number > 0:
            said = _printable(os.strerror(number))
            return said[:1].lower() + said[1:]
        case TimeoutError():
            return "timed out"
        case _:
            return _named(error)


def _tls(error: ssl.SSLError) -> str | None:
    """Return OpenSSL's own words for what failed in a handshake."""
    if isinstance(error, ssl.SSLWantReadError | ssl.SSLWantWriteError):
        return None  # no failure, but what TLS was doing when something else failed
    if isinstance(error, ssl.SSLCertVerificationError):
        # aiohttp raises a subclass without the attributes, from the real one.
        said = _printable(getattr(error, "verify_message", ""))
        return f"certificate verify failed: {said}" if said else "certificate verify failed"
    reason = str(getattr(error, "reason", None) or "")
    known = _OPENSSL_REASON.fullmatch(reason) is not None
    return f"TLS failed: {reason.replace('_', ' ').lower()}" if known else "TLS failed"


def _named(error: BaseException) -> str | None:
    """Return what the class of an exception says."""
    names = [base.__name__ for base in type(error).__mro__]
    if "ProxyError" in names:
        status = _HTTP_STATUS.match(str(error))
        return f"proxy refused: HTTP {status[1]}" if status else "proxy refused"
    return next((_NAMED[name] for name in names if name in _NAMED), None)


def _printable(text: object) -> str:
    """Return a text of the operating system's or OpenSSL's, without surprises."""
    return "".join(filter(str.isprintable, str(text)))[:_LONGEST]
