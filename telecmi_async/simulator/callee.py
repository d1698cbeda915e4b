"""Callees: how they behave, by script, by the last digits of their number, or by chance.

The last four digits of a number can choose what happens to a call, so a list of numbers can test
every branch of a program. The table is `MAGIC`. At other numbers the share ``answered_share`` of
callees answers.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from attrs import field, frozen

from telecmi_async._internal import validators
from telecmi_async.errors import ConfigurationError
from telecmi_async.simulator.fault import Fault, FaultKind
from telecmi_async.simulator.voice.line_fault import LineFault, parse_line_faults
from telecmi_async.simulator.voice.speech import Speech, parse_speeches

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from telecmi_async._internal.validators import Field

#: How a leg ends. The first two are TeleCMI's own words; users reported the others.
Ending: TypeAlias = Literal["answered", "missed", "busy", "failed"]

_ENDINGS: Final = ("answered", "missed", "busy", "failed")
_KEYS: Final = re.compile(r"[0-9*#]{0,32}")


def _parse_digits(value: str | Iterable[str]) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    return tuple(value)


def _check_digits(_: object, __: Field, digits: tuple[object, ...]) -> None:
    if not all(isinstance(keys, str) and _KEYS.fullmatch(keys) for keys in digits):
        raise ConfigurationError(
            'Callee.digits must be keys ("0" to "9", "*", "#"), or several such texts'
        )


@frozen(kw_only=True)
class Callee:
    """How a callee behaves.

    Example:
        One person presses 1, another does not answer::

            from telecmi_async.simulator import Callee, Simulator

            Simulator(
                callees={19170000001: Callee(digits="1"), 19170000002: Callee(ending="missed")}
            )

    Args:
        ending: Whether they answer: ``"answered"``, ``"missed"``, ``"busy"`` or ``"failed"``.
        digits: The keys they press when asked, a text for each time; ``""`` for none. Not in
            the repr.
        ring: Seconds until they answer, or are busy; ``None`` for the simulator's ``ring``. A call
            that is missed rings for the full minute.
        talk: Seconds they stay on the line, once it comes to talking; ``None`` for the
            simulator's ``talk``.
        hangs_up_after: Seconds after the answer at which they hang up, in any step of the flow;
            ``None`` for never.
        says: What they say when the call is streamed (`Simulator` ``streams``): WAV files, as
            paths or bytes, `Tone` and `Silence`, one after another, each when it is their turn:
            when the bot has spoken and is silent for 0.7 seconds, or after 4 seconds in which it
            says nothing. They hang up after 20 seconds in which neither speaks. Not in the repr.
        talks_over_after: Seconds after the bot's first sound at which they say the first of
            ``says``, also while the bot speaks; ``None`` to wait for their turn.
        line_faults: What goes wrong while the call is streamed: each a `LineFault`, or the text
            of a `LineFaultKind`.

    Raises:
        ConfigurationError: A value is not valid.
    """

    ending: Ending = field(default="answered", validator=validators.one_of(*_ENDINGS))
    digits: tuple[str, ...] = field(
        default=(), converter=_parse_digits, validator=_check_digits, repr=False
    )
    ring: float | None = field(
        default=None,
        converter=validators.to_seconds_or_none,
        validator=validators.positive_or_none,
    )
    talk: float | None = field(
        default=None,
        converter=validators.to_seconds_or_none,
        validator=validators.positive_or_none,
    )
    hangs_up_after: float | None = field(
        default=None,
        converter=validators.to_seconds_or_none,
        validator=validators.positive_or_none,
    )
    says: tuple[Speech, ...] = field(default=(), converter=parse_speeches, repr=False)
    talks_over_after: float | None = field(
        default=None,
        converter=validators.to_seconds_or_none,
        validator=validators.positive_or_none,
    )
    line_faults: tuple[LineFault, ...] = field(default=(), converter=parse_line_faults)


@frozen
class Magic:
    """The meaning of a number's last four digits: a callee, or a fault of the request."""

    label: str
    callee: Callee = Callee()
    fault: Fault | None = None


def _fault(kind: FaultKind, *, attempts: int | None = None) -> Magic:
    label = kind.label if attempts is None else f"{kind.label}, the first time"
    return Magic(label, fault=Fault(kind, attempts=attempts))


#: By the last four digits of the number dialled.
MAGIC: Final[Mapping[str, Magic]] = {
    "9900": Magic("answers"),
    "9901": Magic("does not answer", Callee(ending="missed")),
    "9902": Magic("is busy", Callee(ending="busy", ring=1)),
    "9903": Magic("is not a number in use", Callee(ending="failed", ring=1)),
    "9904": Magic("answers, and hangs up after 3 seconds", Callee(hangs_up_after=3)),
    "9905": Magic("answers, and presses 1 whenever asked", Callee(digits=("1",) * 10)),
    "9910": _fault(FaultKind.VENDOR_502, attempts=1),
    "9911": _fault(FaultKind.VENDOR_502),
    "9912": _fault(FaultKind.GATEWAY_502, attempts=1),
    "9913": _fault(FaultKind.GATEWAY_502_PLACED, attempts=1),
    "9920": _fault(FaultKind.REPLY_LOST),
    "9921": _fault(FaultKind.RESET),
    "9922": _fault(FaultKind.RESET_PLACED),
    "9923": _fault(FaultKind.SLOW),
    "9924": _fault(FaultKind.CUT),
    "9925": _fault(FaultKind.DRIP),
    "9930": _fault(FaultKind.CREDENTIALS),
    "9931": _fault(FaultKind.CREDENTIALS_IN_200),
    "9932": _fault(FaultKind.MISSING_PROPERTY),
    "9933": _fault(FaultKind.RATE_LIMITED, attempts=1),
    "9934": _fault(FaultKind.UNAVAILABLE, attempts=1),
    "9940": _fault(FaultKind.NO_REQUEST_ID),
    "9941": _fault(FaultKind.NO_JSON),
}


def magic_for(to: int) -> Magic | None:
    """Return what a number's last four digits stand for, if they stand for anything."""
    # Most numbers have none, and the first two of the four digits show it.
    return MAGIC.get(str(to)[-4:]) if to // 100 % 100 == 99 else None
