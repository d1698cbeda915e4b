"""Page actions, by the name that a form sends."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from telecmi_async.errors import ConfigurationError
from telecmi_async.simulator.fault import Fault
from telecmi_async.simulator.page.elements import delivery_id

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from telecmi_async.simulator.page.layout import PageModel

_MINUTES: Final = frozenset({"1", "5", "30"})
_KEYS: Final = re.compile(r"[0-9*#]{1,32}")
_NUMBER: Final = re.compile(r"[0-9]{1,9}")


class ActionRefused(Exception):  # it becomes a page
    """An action was refused, with an HTTP status and a sentence for the user."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(status, why)
        self.status = status
        self.why = why


def _advance(page: PageModel, fields: Mapping[str, str]) -> str:
    if fields.get("minutes") not in _MINUTES:
        raise ActionRefused(422, "Time passes by 1, 5 or 30 minutes.")
    page.world.skip(60 * int(fields["minutes"]))
    return ""


def _send_again(page: PageModel, fields: Mapping[str, str]) -> str:
    wanted = fields.get("delivery", "")
    for delivery in page.world.deliveries:
        if delivery_id(delivery) == wanted:
            page.world.send_again(delivery)
            return f"d-{wanted}"
    raise ActionRefused(404, "That message is no longer among the newest.")


def _add_fault(page: PageModel, fields: Mapping[str, str]) -> str:
    try:
        share = float(fields.get("share", "100")) / 100
    except ValueError:
        raise ActionRefused(422, "The share must be a number from 0 to 100.") from None
    attempts = fields.get("attempts") or None
    if attempts is not None and not _NUMBER.fullmatch(attempts):
        raise ActionRefused(422, "The attempts must be a whole number, 1 or more, or nothing.")
    try:
        fault = Fault(
            fields.get("kind", ""),
            to=fields.get("to") or None,
            share=share,
            attempts=int(attempts) if attempts else None,
        )
    except ConfigurationError as error:
        raise ActionRefused(422, f"{error}.") from None
    return f"f-{page.options.faults.add(fault)}"


def _remove_fault(page: PageModel, fields: Mapping[str, str]) -> str:
    number = fields.get("rule", "")
    if _NUMBER.fullmatch(number):
        page.options.faults.remove(int(number))
    return ""


def _clear_faults(page: PageModel, _: Mapping[str, str]) -> str:
    page.options.faults.clear()
    return ""


def _command(page: PageModel, fields: Mapping[str, str]) -> str:
    """Execute a manual command; `SimulatedCall` decides whether the call waits for it."""
    call = page.world.find(fields.get("call", ""))
    if call is None:
        raise ActionRefused(404, "That call is over, and no longer among the newest.")
    try:
        match fields["do"]:
            case "answer":
                call.answer()
            case "miss":
                call.miss()
            case "press":
                if not _KEYS.fullmatch(keys := fields.get("keys", "")):
                    raise ActionRefused(422, "Keys are 0 to 9, * and #, up to 32 of them.")
                call.press(keys)
            case _:
                call.hangup()
    except RuntimeError:
        raise ActionRefused(409, "The call does not wait for that any more.") from None
    return ""


#: Each returns the id of the element to show afterwards, or ``""``.
PAGE_ACTIONS: Final[Mapping[str, Callable[[PageModel, Mapping[str, str]], str]]] = {
    "add_fault": _add_fault,
    "advance": _advance,
    "answer": _command,
    "clear_faults": _clear_faults,
    "hangup": _command,
    "miss": _command,
    "press": _command,
    "remove_fault": _remove_fault,
    "send_again": _send_again,
}
