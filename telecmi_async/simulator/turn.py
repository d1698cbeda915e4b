"""What a call's story says and is told, turn by turn."""

from __future__ import annotations

from attrs import frozen

__all__ = ["Ask", "Command", "HungUp", "Wait"]


@frozen
class Wait:
    """Nothing happens for a while.

    Args:
        seconds: How long; ``None`` until one of the commands comes.
        commands: What may be done by hand meanwhile.
    """

    seconds: float | None
    commands: frozenset[str] = frozenset()


@frozen
class Ask:
    """The user's program is asked how the call goes on.

    Args:
        url: Where; ``None`` for where calls that come in are answered.
        keys: What was pressed; ``None`` if a call comes in.
    """

    url: str | None
    keys: str | None


@frozen
class Command:
    """What was done by hand, or answered by a program.

    Args:
        name: ``answer``, ``miss``, ``press`` or ``reply``.
        at: When, in seconds on the simulator's clock.
        value: The keys, or the call flow.
    """

    name: str
    at: float
    value: object = None


class HungUp(Exception):  # it is no error: it ends a story
    """Somebody hung up.

    Args:
        who: Who, in a few words.
        at: When, if it was done from outside.
    """

    def __init__(self, who: str, at: float | None = None) -> None:
        super().__init__(who)
        self.who = who
        self.at = at
