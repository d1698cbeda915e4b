"""Webhook response: the reply to TeleCMI, free of any framework's types."""

from __future__ import annotations

from typing import Final

from attrs import frozen

__all__ = ["MAX_BODY_BYTES", "WebhookResponse"]

#: The longest body that is read, in bytes. TeleCMI's have about 600.
MAX_BODY_BYTES: Final = 64 * 1024


@frozen
class WebhookResponse:
    """An HTTP reply, free of any framework's types.

    Args:
        status: The HTTP status. 204: accepted; 200: a call flow; 4xx: refused; 503: to be
            sent again.
        headers: Names and values.
        body: The body; JSON if there is one. It never says why something was refused.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
