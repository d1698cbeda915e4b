"""What the service needs of whatever carries its requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import attrs

from telecmi_async._internal import validators

if TYPE_CHECKING:
    from telecmi_async._internal.secrets import RequestBody
    from telecmi_async.wire.reply import Failure, Reply

__all__ = ["Timeouts", "Transport"]


@attrs.frozen(kw_only=True)
class Timeouts:
    """How long one attempt may take, in seconds or as a `timedelta`.

    A short ``read`` buys nothing: TeleCMI may be placing the call all the same, and a slow
    success becomes a call of unknown outcome.

    Args:
        connect: To open a connection, TLS included. Running out of it proves that nothing
            was sent.
        write: For TeleCMI to take the request.
        read: For TeleCMI to answer, and between two pieces of the answer.
        total: For all of it, so that an answer that drips in does not take for ever.

    Raises:
        ConfigurationError: One is not a positive number.
    """

    connect: float = attrs.field(
        default=5.0, converter=validators.to_seconds, validator=validators.positive
    )
    write: float = attrs.field(
        default=10.0, converter=validators.to_seconds, validator=validators.positive
    )
    read: float = attrs.field(
        default=30.0, converter=validators.to_seconds, validator=validators.positive
    )
    total: float = attrs.field(
        default=60.0, converter=validators.to_seconds, validator=validators.positive
    )

    @classmethod
    def of(cls, value: Timeouts | validators.Duration) -> Timeouts:
        """Return ``value`` itself if it is one, else the time-outs a single duration stands for.

        A single duration is the longest wait for TeleCMI's answer (``read``); the whole
        attempt then gets twice that.
        """
        if isinstance(value, Timeouts):
            return value
        read = cls(read=value).read
        return cls(read=read, total=2 * read, connect=min(5.0, read), write=min(10.0, read))


class Transport(Protocol):
    """Carries encoded calls to TeleCMI.

    An implementer must send the request at most once, must not follow redirects, and must
    return a `Failure` for whatever goes wrong: no exception of its own may escape.
    ``Failure.sent`` may be False only if it is proven that not one byte of the POST left.
    """

    async def post(
        self,
        url: str,
        body: RequestBody,
        timeouts: Timeouts,
        *,
        deadline: float,
        send_by: float | None = None,
    ) -> Reply | Failure:
        """Send one request and return what came back, by ``deadline`` at the latest.

        Cancellation must not abandon a request: it is awaited to its end or to its
        time-outs, and cancellation is delivered afterwards. ``deadline`` is a reading of
        the event loop's clock, ``timeouts.total`` from now. ``send_by`` is another: if it has
        passed when the first byte is about to leave, no byte may.
        """
        ...

    async def aclose(self) -> None:
        """Close what the transport itself opened."""
        ...
