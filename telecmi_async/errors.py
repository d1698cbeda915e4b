"""Errors: every error this package raises.

::

    TelecmiError
    ├── InvalidCall (ValueError)      refused before anything was sent; .path names the field
    ├── CallNotPlaced                 certainly no phone rang: dialling again is safe
    │   ├── CallRejected              TeleCMI refused it: .status .code .message .body
    │   │   ├── AuthenticationError   420, 401, 407
    │   │   ├── MissingProperty       422, 501, and 502 with TeleCMI's own body
    │   │   └── RateLimited           429, and 503 with Retry-After: .retry_after
    │   ├── NotSent                   could not connect, could not be built, or waited too long
    │   └── CallCancelled             cancelled before it was placed
    ├── CallOutcomeUnknown            no trustworthy answer came: .reference .cause
    ├── CallPending (RuntimeError)    TeleCMI has not answered yet
    ├── ConfigurationError (ValueError)   the service was set up wrongly
    ├── InvalidAudio (ValueError)     audio that cannot be played
    ├── RequestFailed                 a look-up or a command to a call failed: .status .code
    ├── ServiceClosed                 the service takes no more calls
    ├── StreamClosed                  the WebSocket of a call's audio is closed
    ├── StoreError                    a store of events or a ledger cannot be reached
    │   └── LedgerLost                the ledger is damaged, or another one than before
    ├── WaitTimeout (TimeoutError)    the awaited event did not come in time
    ├── WebhookError (ValueError)     a webhook's payload cannot be read
    └── WrongEventLoop (RuntimeError) used outside an event loop, or from another one

Two questions are enough for a caller. *May a phone have rung?* ``error.safe_to_redial`` is False
if so: for `CallOutcomeUnknown`, and for `CallPending`, `WaitTimeout` and all other errors of a
wait for a call's end, since that call may be under way; and for all errors of look-ups and of
commands to a live call, which say nothing about any call's outcome. *Is my input wrong?* Then the error is
`InvalidCall` or `ConfigurationError`, raised before anything is sent by what raises it.

All of them can be pickled, and none holds the secret or a full phone number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from telecmi_async.attempt import Attempt

__all__ = [
    "AuthenticationError",
    "CallCancelled",
    "CallNotPlaced",
    "CallOutcomeUnknown",
    "CallPending",
    "CallRejected",
    "ConfigurationError",
    "InvalidAudio",
    "InvalidCall",
    "LedgerLost",
    "MissingProperty",
    "NotSent",
    "RateLimited",
    "RequestFailed",
    "ServiceClosed",
    "StoreError",
    "StreamClosed",
    "TelecmiError",
    "WaitTimeout",
    "WebhookError",
    "WrongEventLoop",
]


def __dir__() -> list[str]:
    return __all__


class TelecmiError(Exception):
    """Something went wrong between your program and TeleCMI.

    The root of the tree: ``except TelecmiError`` catches every error of this package.
    """

    #: Whether the same call may be dialled again without a phone ringing twice. Of the errors of
    #: a wait for a call, only the handle's own error can have True; of a look-up's or a command's,
    #: none.
    safe_to_redial: bool = True

    #: The attempts before this error, oldest first; empty if no request was started.
    attempts: tuple[Attempt, ...] = ()

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.args, dict(self.__dict__))


def _rebuild(
    kind: type[TelecmiError], args: tuple[object, ...], state: dict[str, object]
) -> TelecmiError:
    """Make an error from its pickle without calling its constructor."""
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class InvalidCall(TelecmiError, ValueError):
    """A call that cannot be sent as it is; nothing was sent.

    Args:
        message: What is wrong and what would be right.
        path: The field's path from the call's root: ``pcmo[1].connect[0].number``.
    """

    def __init__(self, message: str, *, path: str = "") -> None:
        super().__init__(f"{path}: {message}" if path else message)
        self.message = message
        self.path = path

    def inside(self, parent: str) -> InvalidCall:
        """Return the same error with ``parent`` in front of its path.

        ``InvalidCall("…", path="number").inside("connect[0]")`` names ``connect[0].number``.
        """
        glue = "" if not self.path or self.path.startswith("[") else "."
        return InvalidCall(self.message, path=f"{parent}{glue}{self.path}")


class CallNotPlaced(TelecmiError):
    """Certainly no phone rang: dialling again is safe."""

    def __init__(self, message: str, *, attempts: tuple[Attempt, ...] = ()) -> None:
        super().__init__(message)
        self.attempts = attempts


class CallRejected(CallNotPlaced):
    """TeleCMI refused the call.

    Args:
        message: TeleCMI's message, or a description of its reply.
        status: The HTTP status.
        code: The code in the reply's body if there was one, else the HTTP status.
        body: The reply's JSON object, or its text, without the secret.
        attempts: All attempts, oldest first.
        refused: What TeleCMI refused, for the error's text.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        code: int,
        body: Mapping[str, Any] | str = "",
        attempts: tuple[Attempt, ...] = (),
        refused: str = "call",
    ) -> None:
        super().__init__(
            f"TeleCMI refused the {refused} ({code}): {message}", attempts=attempts
        )
        self.message = message
        self.status = status
        self.code = code
        self.body = body


class AuthenticationError(CallRejected):
    """The app id or the secret is wrong (420, 401 or 407).

    A look-up, and a command to a live call, raise it as well, with ``safe_to_redial`` False: it
    says nothing about any call then.
    """


class MissingProperty(CallRejected):
    """TeleCMI says that a property is missing (422, 501, or 502 in its own words)."""


class RateLimited(CallRejected):
    """TeleCMI asked for a pause (429, or 503 with ``Retry-After``)."""

    #: The pause TeleCMI asked for in seconds, not capped; None if there is no readable one.
    retry_after: float | None = None


class NotSent(CallNotPlaced):
    """No byte of the call left this machine, in any attempt.

    No connection could be made (refused, DNS, TLS, time-out), the call waited longer than
    ``queue_timeout`` or ``deadline`` allow, the request could not be built, or something failed
    before it that should not, which is logged.
    """

    #: Why TeleCMI could not be reached, in a few words; empty if it was something else.
    unreached: str = ""
    #: Whether its time was over before it could leave, since this machine or its ledger was slow.
    late: bool = False


class CallCancelled(CallNotPlaced):
    """The call was cancelled before it was placed.

    Raised by handles that were cancelled, or that were still queued when their service
    closed.
    """


class CallOutcomeUnknown(TelecmiError):
    """The request left and no trustworthy answer came: a phone may have rung.

    Decide with that in mind whether to dial again.

    Args:
        message: What happened instead of an answer.
        reference: The handle's own id for the call, the one in the logs.
        cause: The last failure in a few words, such as ``"ReadTimeout"``.
        attempts: All attempts, oldest first.
    """

    safe_to_redial = False

    def __init__(
        self,
        message: str,
        *,
        reference: str,
        cause: str,
        attempts: tuple[Attempt, ...] = (),
    ) -> None:
        super().__init__(message)
        self.reference = reference
        self.cause = cause
        self.attempts = attempts


class CallPending(TelecmiError, RuntimeError):
    """TeleCMI has not answered yet, and a phone may ring any moment.

    Raised by reading ``request_id`` too early, and by awaiting a handle in an event loop that is
    not its own.
    """

    safe_to_redial = False


class ConfigurationError(TelecmiError, ValueError):
    """The service was set up with a value that cannot work; the message names it."""


class InvalidAudio(TelecmiError, ValueError):
    """Audio that cannot be played: of another type, damaged, or in an unknown format.

    It says nothing about any call's outcome, so ``safe_to_redial`` is False.
    """

    safe_to_redial = False


class StreamClosed(TelecmiError):
    """The WebSocket that carries a call's audio is closed; the message says why.

    The call may go on, so ``safe_to_redial`` is False.
    """

    safe_to_redial = False


class ServiceClosed(TelecmiError):
    """The service was closed and takes no more calls; those it took are settled as usual.

    Waits for a call's end raise it as well: the service receives no more events.
    """


class StoreError(TelecmiError):
    """The store that carries events between processes cannot be reached.

    Events are missing then; calls are still placed.
    """


class LedgerLost(StoreError):
    """The ledger is damaged, closed, or no longer the one that was opened; this does not pass.

    A campaign ends with it, and ``safe_to_redial`` is False: phones may have rung of which the
    ledger, or a copy of it, knows nothing.
    """

    safe_to_redial = False


class RequestFailed(TelecmiError):
    """A look-up, or a command to a live call, failed; neither places a call.

    A wait raises it if TeleCMI refuses to look the call up. It says nothing about any call, so
    ``safe_to_redial`` is False.

    Args:
        message: What happened, in TeleCMI's words if there are any.
        status: The HTTP status, if a reply came.
        code: The code in the reply's body if there was one, else the HTTP status.
    """

    safe_to_redial = False

    def __init__(
        self, message: str, *, status: int | None = None, code: int | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code


class WaitTimeout(TelecmiError, TimeoutError):
    """A call's answer or end did not come within the given time.

    It says nothing about the call, which goes on: wait again, or look at ``handle.result``.
    """

    safe_to_redial = False


class WebhookError(TelecmiError, ValueError):
    """The payload of a webhook is not an event.

    It is not a JSON object, or it exceeds what `telecmi_async.events.parse_event` reads. The
    message names the reason and repeats nothing of the payload but short, masked keys.
    """


class WrongEventLoop(TelecmiError, RuntimeError):
    """A service belongs to the event loop it was first used in; this call was not sent."""
