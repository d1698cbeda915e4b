"""HTTP reply: a complete reply, or the failure to get one."""

from __future__ import annotations

import attrs


@attrs.frozen
class Reply:
    """A complete HTTP reply, free of any HTTP library's types.

    Args:
        status: The HTTP status.
        body: The decoded body, in full.
        retry_after: The ``Retry-After`` header, unparsed.
        resent: Whether the HTTP client sent the request more than once, by itself.
    """

    status: int
    body: bytes = attrs.field(repr=False)
    retry_after: str | None = None
    resent: bool = False


@attrs.frozen
class Failure:
    """No complete reply came.

    Args:
        reason: What happened, in a few words without secrets.
        may_have_left: False only if it is proven that the request did not leave.
        permanent: Whether the same request would fail again: it could not even be built.
        resent: Whether the HTTP client sent the request more than once, by itself.
        unreached: Whether it failed on its way, such as for lack of a connection, and did not leave.
    """

    reason: str
    may_have_left: bool
    permanent: bool = False
    resent: bool = False
    unreached: bool = False
