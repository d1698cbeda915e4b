"""Streamed calls: which call an address of a stream belongs to, for `telecmi_async.voice`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol
from weakref import WeakValueDictionary

from telecmi_async.calls.handle import CallHandle
from telecmi_async.errors import ConfigurationError

if TYPE_CHECKING:
    from telecmi_async.calls.call import Call
    from telecmi_async.events.reference import References


class CallStreams(Protocol):
    """What serves the audio of calls: `telecmi_async.voice.Streams`."""

    @property
    def calls(self) -> StreamedCalls:
        """The calls that it knows."""
        ...


class StreamedCalls:
    """The accounts whose calls may be streamed, and those of their calls that this process has.

    A service tells it of each call whose flow has an address with the placeholder.
    """

    def __init__(self) -> None:
        self._accounts: dict[References, None] = {}
        self._calls: WeakValueDictionary[str, Call] = WeakValueDictionary()

    def check_references(self, references: References) -> None:
        """Check an account's references from now on: its calls outlive its services."""
        self._accounts.pop(references, None)
        self._accounts[references] = None

    @property
    def knows_an_account(self) -> bool:
        """Whether the secret of any account is known here."""
        return bool(self._accounts)

    def expect(self, call: Call) -> None:
        """Know a call for as long as something else does."""
        self._calls[call.reference] = call

    def handle_of(self, reference: str) -> CallHandle | None:
        """Return the handle of a call, if it is known here."""
        call = self._calls.get(reference)
        return None if call is None else CallHandle(call)

    def account_of(self, signed: str) -> References | None:
        """Return the account that signed a reference; None if no known one did."""
        return next((each for each in self._accounts if each.is_signed(signed)), None)

    def account(self) -> References:
        """Return the newest account.

        Raises:
            ConfigurationError: None is known here.
        """
        newest = next(reversed(self._accounts), None)
        if newest is None:
            raise ConfigurationError(
                "addresses of streams are signed with the account's secret, which these streams "
                "do not know: give them to a service, CallService(…, streams=streams), or the "
                "secret to them, Streams(url, secret=…)"
            )
        return newest
