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
    """

    status: int
    body: bytes = attrs.field(repr=False)
    retry_after: str | None = None


@attrs.frozen
class Failure:
    """No complete reply came.

    Args:
        reason: What happened, in a few words without secrets.
        sent: False only if it is proven that no byte of the request left.
    """

    reason: str
    sent: bool
