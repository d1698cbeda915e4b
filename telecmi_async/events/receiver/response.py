"""What a webhook is answered with."""

from __future__ import annotations

from typing import Final

from attrs import frozen

__all__ = ["MAX_BODY_BYTES", "WebhookResponse", "flow_response"]

#: The longest body that is read, in bytes. TeleCMI's have about 600.
MAX_BODY_BYTES: Final = 64 * 1024


@frozen
class WebhookResponse:
    """An HTTP reply, free of any framework's types.

    Args:
        status: The HTTP status. 204: taken over; 200: a call flow; 4xx: refused; 503: not
            taken over, to be sent again.
        headers: Names and values.
        body: The body; JSON if there is one. It never says why something was refused.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


def flow_response(flow: bytes) -> WebhookResponse:
    """Return the reply that tells TeleCMI what happens next in a call."""
    return WebhookResponse(200, (("Content-Type", "application/json"),), flow)
