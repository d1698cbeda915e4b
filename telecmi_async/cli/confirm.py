"""Confirmation: asks before an action that cannot be undone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from telecmi_async.cli.exits import Exit, Stop

if TYPE_CHECKING:
    from telecmi_async.cli.terminal import Terminal

# For more calls than this, the user must type the number instead of "yes".
_FEW: Final = 10


def confirm(terminal: Terminal, count: int, *, given: int | None, can_ask: bool = True) -> None:
    """Ask the user to confirm how many people will be called.

    Args:
        terminal: Where to ask.
        count: How many.
        given: What was confirmed by the argument ``--yes``, if it was.
        can_ask: Whether stdin is free for an answer.

    Raises:
        Stop: It is not confirmed.
    """
    if given is not None:
        if given != count:
            raise Stop(Exit.USAGE, f"--yes {given} was given, and {count} would be called")
        return
    if not (can_ask and terminal.can_ask):
        raise Stop(Exit.USAGE, f"nobody is here to ask: add --yes {count}")
    if count <= _FEW:
        agreed = terminal.ask(f"Call {count}? Type yes: ").lower() in {"y", "yes"}
    else:
        agreed = terminal.ask("Type how many will be called, to call them: ") == str(count)
    if not agreed:
        raise Stop(Exit.FAILED, "nobody was called")
