"""Fault injection: what can go wrong with a request, and rules for when it does.

A fault concerns only the request: the reply, and whether the call was placed nevertheless. The
behaviour of callees is in `telecmi_async.simulator.callee`.
"""

from __future__ import annotations

from enum import StrEnum, unique
from typing import TYPE_CHECKING, Self, SupportsIndex

from attrs import define, field, frozen

from telecmi_async._internal import validators
from telecmi_async._internal.messages import listed, mask
from telecmi_async.errors import ConfigurationError, InvalidCall
from telecmi_async.phone import parse_number
from telecmi_async.simulator import chance

if TYPE_CHECKING:
    from collections.abc import Iterator


@unique
class Breach(StrEnum):
    """What happens to the connection instead of, or while, a reply is sent."""

    #: It is reset: the client cannot know whether the call was placed.
    RESET = "reset"
    #: It is closed before the first byte of a reply.
    CLOSE = "close"
    #: It is closed in the middle of the reply.
    CUT = "cut"
    #: The reply comes one byte at a time, a second apart.
    DRIP = "drip"


@unique
class FaultKind(StrEnum):
    """The reply to a request. No call is placed unless the description says so."""

    #: What the client sees, in a few words.
    label: str
    #: Whether the call is placed nevertheless.
    placed: bool
    #: What happens to the connection, if anything does.
    breach: Breach | None

    #: 502 with TeleCMI's own body: a property is missing.
    VENDOR_502 = "vendor_502", "502 with TeleCMI's body"
    #: 502 with a gateway's page.
    GATEWAY_502 = "gateway_502", "502 of a gateway"
    #: 502 with a gateway's page, and the call was placed.
    GATEWAY_502_PLACED = "gateway_502_placed", "502 of a gateway, and the call is placed", True
    #: The call was placed, and the connection closes before the reply.
    REPLY_LOST = "reply_lost", "placed, and the reply is lost", True, Breach.CLOSE
    #: The connection is reset.
    RESET = "reset", "connection reset, and nothing is placed", False, Breach.RESET
    #: The connection is reset, and the call was placed.
    RESET_PLACED = "reset_placed", "placed, and the connection is reset", True, Breach.RESET
    #: The call was placed, and the reply takes ten minutes.
    SLOW = "slow", "placed, and the reply takes ten minutes", True
    #: The call was placed, and the reply breaks off.
    CUT = "cut", "placed, and the reply breaks off", True, Breach.CUT
    #: The call was placed, and the reply comes one byte a second.
    DRIP = "drip", "placed, and the reply comes one byte a second", True, Breach.DRIP
    #: 420: the credentials are wrong.
    CREDENTIALS = "credentials", "420, the credentials are wrong"
    #: Code 420 within an HTTP status of 200.
    CREDENTIALS_IN_200 = "credentials_in_200", "code 420 within a status of 200"
    #: 422: a property is missing.
    MISSING_PROPERTY = "missing_property", "422, a property is missing"
    #: 429, and ``Retry-After: 1``.
    RATE_LIMITED = "rate_limited", "429, and Retry-After: 1"
    #: 503, and ``Retry-After: 1``.
    UNAVAILABLE = "unavailable", "503, and Retry-After: 1"
    #: The call was placed; 200, and no ``request_id`` in the reply.
    NO_REQUEST_ID = "no_request_id", "placed; 200, and no request_id", True
    #: The call was placed; 200, and the reply is no JSON.
    NO_JSON = "no_json", "placed; 200, and the body is not JSON", True

    def __new__(
        cls,
        value: str,
        label: str = "",  # a look-up gives the value only
        placed: bool = False,  # noqa: FBT001, FBT002  # members are tuples
        breach: Breach | None = None,
    ) -> Self:
        """Make a member from its value, its label, and what happens besides."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.label, member.placed, member.breach = label, placed, breach
        return member


def _parse_kind(value: FaultKind | str) -> FaultKind:
    try:
        return FaultKind(value)
    except ValueError:
        raise ConfigurationError(f"Fault.kind must be {listed(tuple(FaultKind))}") from None


def _parse_to(value: SupportsIndex | str | None) -> int | None:
    try:
        return None if value is None else parse_number(value, "Fault.to")
    except InvalidCall as error:
        raise ConfigurationError(str(error)) from None


def masked_or_none(to: int | None) -> str:
    """Return a number as a repr shows it."""
    return "None" if to is None else mask(to)


@frozen
class Fault:
    """A rule: which requests go wrong, and how.

    Example:
        The first reply for one number is lost, though the call was placed::

            from telecmi_async.simulator import Fault, Simulator

            Simulator().faults.add(Fault("reply_lost", to=19170000001, attempts=1))

    Args:
        kind: How.
        to: The number it applies to; ``None`` for every number.
        share: The share of attempts it applies to, from 0 to 1.
        attempts: It applies to so many first attempts for a number; ``None`` for all of them.

    Raises:
        ConfigurationError: A value is not valid.
    """

    kind: FaultKind = field(converter=_parse_kind)
    to: int | None = field(default=None, kw_only=True, converter=_parse_to, repr=masked_or_none)
    share: float = field(default=1.0, kw_only=True, validator=validators.share)
    attempts: int | None = field(
        default=None, kw_only=True, validator=validators.whole_or_none(1)
    )

    def hits(self, seed: int | str, number: int, to: int, attempt: int) -> bool:
        """Return whether this rule applies to an attempt.

        The rule's own number is given, so that two rules draw differently.
        """
        if self.to not in {None, to} or (self.attempts or attempt) < attempt:
            return False
        return self.share == 1 or chance.draw(seed, f"fault {number}", to, attempt) < self.share


@define
class Faults:
    """The rules that hold now. They can be changed while calls are placed."""

    _rules: dict[int, Fault] = field(factory=dict[int, Fault], init=False)
    _next: int = field(default=1, init=False, repr=False)

    def add(self, fault: Fault | FaultKind | str) -> int:
        """Add a rule, after those that hold already.

        Returns:
            Its number, for `remove`.
        """
        number = self._next
        self._next += 1
        self._rules[number] = fault if isinstance(fault, Fault) else Fault(fault)
        return number

    def remove(self, number: int) -> None:
        """Remove a rule, if it is there."""
        self._rules.pop(number, None)

    def clear(self) -> None:
        """Remove all rules."""
        self._rules.clear()

    def __iter__(self) -> Iterator[tuple[int, Fault]]:
        return iter(tuple(self._rules.items()))

    def __len__(self) -> int:
        return len(self._rules)

    def find(self, seed: int | str, to: int, attempt: int) -> FaultKind | None:
        """Return the fault of an attempt, by the first rule that applies."""
        for number, fault in self._rules.items():
            if fault.hits(seed, number, to, attempt):
                return fault.kind
        return None
