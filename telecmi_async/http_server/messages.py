"""HTTP requests and responses as values, free of any framework's types."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

__all__ = ["HttpRequest", "HttpResponse"]

# A response with one of these statuses has no body and no length.
_BODILESS = frozenset({204, 304})


@frozen
class HttpRequest:
    """A request that arrived in full.

    Args:
        method: The method.
        target: The path, with its query.
        headers: The headers, by lower-case name.
        body: The body.
        local: Whether the client is on this machine.
    """

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    local: bool


@frozen
class HttpResponse:
    """A response.

    Args:
        status: The status.
        headers: Names and values, without ``Content-Length``.
        body: The body.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def all_headers(self) -> list[tuple[str, str]]:
        """Return the headers, with ``Content-Length`` where the status allows one."""
        if self.status in _BODILESS:
            return list(self.headers)
        return [*self.headers, ("Content-Length", str(len(self.body)))]
