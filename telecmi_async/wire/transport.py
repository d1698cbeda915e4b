"""Transport: the interface of what sends requests to TeleCMI, and its time-outs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import attrs

from telecmi_async._internal.validators import positive, to_seconds

if TYPE_CHECKING:
    from telecmi_async._internal import validators
    from telecmi_async._internal.secrets import RequestBody
    from telecmi_async.wire.reply import Failure, Reply


@attrs.frozen(kw_only=True)
class Timeouts:
    """How long one attempt may take, in seconds or as a `timedelta`.

    A short ``read`` does not help: TeleCMI may still place the call, and a slow success becomes
    a call of unknown outcome.

    Example:
        Wait up to 45 seconds for TeleCMI's answer::

            timeout = Timeouts(read=45, total=90)
            service = CallService(2222226, "your-secret", from_=19170000000, timeout=timeout)

    Args:
        connect: To open a connection, including TLS. If it times out, nothing was sent.
        write: For TeleCMI to take the request.
        read: For TeleCMI to answer, and between two pieces of the answer.
        total: For the whole attempt, which bounds an answer that arrives byte by byte.

    Raises:
        ConfigurationError: One is not a positive number.
    """

    connect: float = attrs.field(default=5.0, converter=to_seconds, validator=positive)
    write: float = attrs.field(default=10.0, converter=to_seconds, validator=positive)
    read: float = attrs.field(default=30.0, converter=to_seconds, validator=positive)
    total: float = attrs.field(default=60.0, converter=to_seconds, validator=positive)

    @classmethod
    def of(cls, value: Timeouts | validators.Duration) -> Timeouts:
        """Return ``value`` itself if it is one, else the time-outs of a single duration.

        A single duration is the longest wait for TeleCMI's answer (``read``); the whole
        attempt may take twice that.
        """
        if isinstance(value, Timeouts):
            return value
        read = cls(read=value).read
        return cls(read=read, total=2 * read, connect=min(5.0, read), write=min(10.0, read))


class Transport(Protocol):
    """Carries encoded calls to TeleCMI.

    An implementer must send the request at most once, must not follow redirects, and must
    return a `Failure` for every error: no exception may escape. ``Failure.may_have_left``
    may be False only if it is proven that the body of the POST did not leave.
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
        """Send one request and return the reply, by ``deadline`` at the latest.

        Cancellation must not abandon a request: it is awaited to its end or to its
        time-outs, and cancellation is delivered afterwards. ``deadline`` is a reading of
        the event loop's clock, ``timeouts.total`` from now. ``send_by`` is another: once it has
        passed, the body may not leave.
        """
        ...

    async def aclose(self) -> None:
        """Close the connections that the transport opened."""
        ...
