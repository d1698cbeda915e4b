"""HTTP requests of a command, with the standard library: the reply, and its TLS certificate."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Mapping
from typing import Final
from urllib.parse import SplitResult, urlsplit

from attrs import frozen

from telecmi_async.errors import ConfigurationError

_TIMEOUT: Final = 10.0


class Unreachable(Exception):  # commands turn it into a message of theirs
    """No server answers there; the message says why."""


@frozen
class HttpAnswer:
    """A reply; headers have lower-case names.

    ``tls`` is the TLS version and the end of the certificate's validity; ``None`` without TLS.
    """

    status: int
    headers: Mapping[str, str]
    tls: tuple[str, str] | None


def parse_address(url: str) -> SplitResult:
    """Return the parts of an address.

    Raises:
        ConfigurationError: It is not an http(s) address.
    """
    try:
        parts = urlsplit(url)
        if parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0:
            return parts
    except ValueError:  # not a port
        pass
    raise ConfigurationError("give an address that begins with https:// or http://")


def send_request(method: str, url: str, body: bytes | None = None) -> HttpAnswer:
    """Send a request, and wait for its answer; it blocks. Redirects are not followed.

    Raises:
        ConfigurationError: It is not an http(s) address.
        Unreachable: No server answers there.
    """
    parts = parse_address(url)
    secure = parts.scheme == "https"
    kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=_TIMEOUT)
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
    return HttpAnswer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, tls)


def _tls(connection: http.client.HTTPConnection) -> tuple[str, str] | None:
    socket = connection.sock
    if not isinstance(socket, ssl.SSLSocket):
        return None
    certificate = socket.getpeercert() or {}
    return str(socket.version()), str(certificate["notAfter"])
