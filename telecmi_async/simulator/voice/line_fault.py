"""Faults of the line between a callee and a bot, and what they make of the callee's audio."""

from __future__ import annotations

from enum import StrEnum, unique
from typing import TYPE_CHECKING, Final

from attrs import field, frozen

from telecmi_async._internal import validators
from telecmi_async._internal.messages import listed
from telecmi_async.errors import ConfigurationError
from telecmi_async.simulator import chance
from telecmi_async.simulator.voice.speech import convert_rate

if TYPE_CHECKING:
    from collections.abc import Iterable


@unique
class LineFaultKind(StrEnum):
    """What goes wrong on a line."""

    #: The connection breaks without a close frame; the call's flow goes on.
    DROP = "drop"
    #: Nothing passes in either direction for ``seconds``; then all of it arrives at once.
    STALL = "stall"
    #: The address is connected to once more. The callee's audio goes to the newest connection;
    #: messages from both are obeyed, and the stream lasts until both are closed.
    SECOND_CONNECTION = "second_connection"
    #: Nothing that the bot sends is read for ``seconds``; the callee's audio is sent as usual.
    SLOW_READER = "slow_reader"
    #: Text and binary frames that mean nothing are sent.
    GARBAGE = "garbage"
    #: For ``seconds`` the audio has the other rate: 16000 Hz instead of 8000, or the reverse.
    WRONG_RATE = "wrong_rate"
    #: For ``seconds`` frames have all sizes up to 40 ms, also odd ones.
    ODD_FRAMES = "odd_frames"


#: The frames of `LineFaultKind.GARBAGE`: as many bytes as whole samples in all.
GARBAGE_FRAMES: Final[tuple[bytes | str, ...]] = (
    '{"event": "metadata", "streamId": 7}', "", "null", '{"unfinished', "[" * 2_000,
    "\N{SNOWMAN}\0", b"", b"\x01", bytes(range(256)) * 2 + b"\x02",
)  # fmt: skip


def _parse_line_fault(value: LineFaultKind | str) -> LineFaultKind:
    try:
        return LineFaultKind(value)
    except ValueError:
        raise ConfigurationError(
            f"LineFault.kind must be {listed(tuple(LineFaultKind))}"
        ) from None


@frozen
class LineFault:
    """Something that goes wrong while a call is streamed.

    Example:
        The network is silent for two seconds::

            from telecmi_async.simulator import Callee, LineFault

            Callee(line_faults=[LineFault("stall", after=3, seconds=2)])

    Args:
        kind: What it is, as a `LineFaultKind` or its text.
        after: Seconds from the connection until it begins.
        seconds: How long it lasts, if it lasts.

    Raises:
        ConfigurationError: A value is not valid.
    """

    kind: LineFaultKind = field(converter=_parse_line_fault)
    after: float = field(
        default=1.0,
        kw_only=True,
        converter=validators.to_seconds,
        validator=validators.positive,
    )
    seconds: float = field(
        default=1.0,
        kw_only=True,
        converter=validators.to_seconds,
        validator=validators.positive,
    )


def parse_line_faults(
    value: LineFault | str | Iterable[LineFault | str],
) -> tuple[LineFault, ...]:
    """Return faults; a text stands for one with the usual times (an attrs converter)."""
    given = [value] if isinstance(value, LineFault | str) else value
    return tuple(each if isinstance(each, LineFault) else LineFault(each) for each in given)


class FaultyLine:
    """The faults of one line: those to come, and those that last."""

    def __init__(self, faults: tuple[LineFault, ...], seed: int | str) -> None:
        self._to_come = sorted(faults, key=lambda fault: fault.after)
        self._until: dict[LineFaultKind, float] = {}
        self._seed = seed
        self._cuts = 0
        self._rest = b""

    def begin(self, now: float) -> list[LineFaultKind]:
        """Return what begins at a time, in seconds since the connection."""
        found = list[LineFaultKind]()
        while self._to_come and self._to_come[0].after <= now:
            fault = self._to_come.pop(0)
            self._until[fault.kind] = now + fault.seconds
            found.append(fault.kind)
        return found

    def on(self, *kinds: LineFaultKind, now: float) -> bool:
        """Return whether one of the faults lasts at a time."""
        return any(now < self._until.get(kind, 0.0) for kind in kinds)

    def frames(self, pcm: bytes, rate: int, now: float) -> list[bytes]:
        """Return a frame as it is sent: in another rate, or cut elsewhere."""
        if self.on(LineFaultKind.WRONG_RATE, now=now):
            pcm = convert_rate(pcm, rate, 24_000 - rate)
        pcm, self._rest = self._rest + pcm, b""
        if not self.on(LineFaultKind.ODD_FRAMES, now=now):
            return [pcm]
        found = list[bytes]()
        while True:
            size = 1 + int(chance.draw(self._seed, "cut", 0, self._cuts) * rate * 0.08)
            self._cuts += 1
            if size > len(pcm):
                self._rest = pcm
                return found
            found.append(pcm[:size])
            pcm = pcm[size:]
