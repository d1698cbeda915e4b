"""HTTP requests and responses as values, free of any framework's types."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

# A response with one of these statuses has no body and no length.
_BODILESS = frozenset({204, 304})


@frozen
class HttpRequest:
    """A request that arrived in full; ``local`` if its client is on this machine.

    The target is the path with its query. Names of headers are in lower case.
    """

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    local: bool


@frozen
class HttpResponse:
    """A response. Its headers are without ``Content-Length``, which is added."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def all_headers(self) -> list[tuple[str, str]]:
        """Return the headers, with ``Content-Length`` where the status allows one."""
        if self.status in _BODILESS:
            return list(self.headers)
        return [*self.headers, ("Content-Length", str(len(self.body)))]
