"""One HTTP request of a command's own, with the standard library: what came back, and from whom."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Mapping
from typing import Final
from urllib.parse import SplitResult, urlsplit

from attrs import frozen

from telecmi_async.errors import ConfigurationError

__all__ = ["Came", "Unreachable", "parse_address", "send"]

_TIMEOUT: Final = 10.0


class Unreachable(Exception):  # a command says it in its own words
    """Nobody answers there; the message says why."""


@frozen
class Came:
    """What came back.

    Args:
        status: The HTTP status.
        headers: The headers, by lower-case name.
        tls: The protocol's version, and when the certificate ends; ``None`` without TLS.
    """

    status: int
    headers: Mapping[str, str]
    tls: tuple[str, str] | None


def parse_address(url: str) -> SplitResult:
    """Return the parts of an address.

    Raises:
        ConfigurationError: It is no http(s) address.
    """
    try:
        parts = urlsplit(url)
        if parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0:
            return parts
    except ValueError:  # a port that is none
        pass
    raise ConfigurationError("give an address that begins with https:// or http://")


def send(method: str, url: str, body: bytes | None = None) -> Came:
    """Send a request, and wait for its answer; it blocks. Redirects are not followed.

    Raises:
        ConfigurationError: It is no http(s) address.
        Unreachable: Nobody answers there.
    """
    parts = parse_address(url)
    host = parts.hostname or ""
    if parts.scheme == "https":
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            host, parts.port, timeout=_TIMEOUT, context=ssl.create_default_context()
        )
    else:
        connection = http.client.HTTPConnection(host, parts.port, timeout=_TIMEOUT)
    path = f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
    headers = {"Content-Type": "application/json"} if body is not None else {}
    try:
        connection.connect()
        tls = _tls(connection)
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        answer.read()
    except ssl.SSLCertVerificationError as error:
        raise Unreachable(f"its certificate is not trusted: {error.verify_message}") from None
    except (OSError, http.client.HTTPException) as error:
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise Unreachable(why) from None
    finally:
        connection.close()
    return Came(answer.status, {k.lower(): v for k, v in answer.getheaders()}, tls)


def _tls(connection: http.client.HTTPConnection) -> tuple[str, str] | None:
    socket = connection.sock
    if not isinstance(socket, ssl.SSLSocket):
        return None
    certificate = socket.getpeercert() or {}
    return socket.version() or "?", str(certificate.get("notAfter", "?"))
