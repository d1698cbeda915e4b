"""For notebooks: progress in the cell, and calls and contacts as data frames and plots.

Nothing here is needed to place calls. pandas or polars, and matplotlib, are imported when a
function needs them: ``pip install "telecmi-async[notebook]"`` installs pandas and matplotlib.
"""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import suppress
from importlib import import_module
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from telecmi_async._internal.html import TONES_OF_BARS
from telecmi_async._internal.messages import mask, shown
from telecmi_async.calls.handle import CallHandle
from telecmi_async.calls.result import CallResult, answer_time_of
from telecmi_async.calls.state import STATUS_TONES, CallStatus
from telecmi_async.campaigns.contacts.export import export_row, flat_row
from telecmi_async.errors import ConfigurationError
from telecmi_async.ledger import Contact
from telecmi_async.ledger.states import STATE_TONES, ContactState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["CallLike", "plot_outcomes", "plot_talk_time", "show_progress", "to_frame"]

#: What frames and plots are made of.
CallLike: TypeAlias = "CallHandle | CallResult | Contact"
_Kind: TypeAlias = Literal["text", "integer", "float", "boolean", "time"]

_CALLS: Final[dict[str, _Kind]] = {
    "to": "text",
    "outcome": "text",
    "status": "text",
    "error": "text",
    "attempts": "integer",
    "stage": "text",
    "answered": "boolean",
    "talk_seconds": "integer",
    "cost": "float",
    "started_at": "time",
    "answered_at": "time",
    "ended_at": "time",
    "request_id": "text",
    "reference": "text",
}
_CONTACTS: Final[dict[str, _Kind]] = {
    "number": "text",
    "outcome": "text",
    "state": "text",
    "reason": "text",
    "sends": "integer",
    "answered": "boolean",
    "talk_seconds": "integer",
    "cost": "float",
    "sent_at": "time",
    "finished_at": "time",
    "waits_until": "time",
    "redials": "integer",
    "request_id": "text",
}
_PANDAS: Final = {
    "text": "string",
    "integer": "Int64",
    "float": "Float64",
    "boolean": "boolean",
    "time": "datetime64[us, UTC]",
}
_TONES: Final = {str(key): tone for key, tone in (STATUS_TONES | STATE_TONES).items()} | {
    "answered": "good",
    "not answered": "idle",
}
_ANSWERS: Final = {True: "answered", False: "not answered", None: None}
# Seconds between two updates of a cell, or a fast stream would keep the browser busy.
_EVERY: Final = 0.2


def show_progress() -> Callable[[object], None]:
    """Return a function for ``on_progress=`` that shows progress in the cell, in one place.

    It is for `CallService.make_calls` and `telecmi_async.campaigns.Campaign.run`, for example
    ``service.make_calls(rows, on_progress=show_progress())``. Each call of this function makes
    one place. Outside a notebook it shows nothing, so a program may keep it.
    """
    interpreter: Any = sys.modules.get("IPython")
    shell = interpreter and interpreter.get_ipython()
    # IPython in a terminal cannot redraw: each update would be a line.
    if shell is None or not hasattr(shell, "kernel"):
        return lambda _: None
    place: Any = None
    due = 0.0

    def show(snapshot: object) -> None:
        nonlocal place, due
        now = monotonic()
        # The last one is always shown.
        if now < due and getattr(snapshot, "pending", None) != 0:
            return
        due = now + _EVERY
        if place is None:
            place = interpreter.display.display(snapshot, display_id=True)
        else:
            place.update(snapshot)

    return show


def to_frame(
    items: Iterable[CallLike],
    *,
    reveal: bool = False,
    library: Literal["pandas", "polars"] | None = None,
) -> Any:
    """Return calls, or a campaign's contacts, as a data frame with a row for each.

    Frames of calls have the columns ``to``, ``outcome``, ``status``, ``error``, ``attempts``,
    ``stage``, ``answered``, ``talk_seconds``, ``cost``, ``started_at``, ``answered_at``,
    ``ended_at``, ``request_id`` and ``reference``; times are those of the callee's leg. Frames of
    contacts have the columns of `telecmi_async.campaigns.contacts.export.columns_of`, and
    ``outcome``. Talk time is in whole seconds, cost a float in TeleCMI's currency, times are in
    UTC. What is not known is missing. ``outcome`` is ``"answered"``, ``"not answered"``,
    ``"ended"`` (it is not known how), ``"under way"``, ``"accepted"`` (no event so far), or else
    the call's status or the contact's state, such as ``"rejected"``.

    Args:
        items: Handles and results, as ``[call async for call in stream]``; or contacts, as
            ``[contact async for contact in ledger.contacts("reminders")]``.
        reveal: Whether phone numbers are shown in full. By default they are masked: a notebook
            keeps what its cells show in its file, and the file is shared more often than the
            list of numbers was meant to be. Give True to join the frame with your own data.
        library: Which library makes the frame. By default the one that the program has
            imported, pandas if it is both or neither.

    Raises:
        ConfigurationError: The library is not installed, or an item is neither of these.
    """
    rows = list(_rows(items, reveal=reveal))
    kinds = dict(_CONTACTS if rows and "number" in rows[0] else _CALLS)
    kinds |= {key: "text" for row in rows for key in row if key not in kinds}
    columns = {name: [row.get(name) for row in rows] for name in kinds}
    name, made_by = _frame_library(library)
    if name == "pandas":
        return made_by.DataFrame(
            {
                key: made_by.Series(columns[key], dtype=_PANDAS[kind])
                for key, kind in kinds.items()
            }
        )
    types = {
        "text": made_by.String,
        "integer": made_by.Int64,
        "float": made_by.Float64,
        "boolean": made_by.Boolean,
        "time": made_by.Datetime("us", "UTC"),
    }
    return made_by.DataFrame(columns, schema={key: types[kind] for key, kind in kinds.items()})


def plot_outcomes(items: Iterable[CallLike], *, ax: Any = None) -> Any:
    """Draw how many calls or contacts have each outcome, and return matplotlib's ``Axes``.

    Args:
        items: As for `to_frame`.
        ax: Where to draw, matplotlib's ``Axes``; by default in a new figure.

    Raises:
        ConfigurationError: matplotlib is not installed, or an item is neither of these.
    """
    outcomes = (str(row["outcome"] or "not known") for row in _rows(items))
    counts = Counter(outcomes).most_common()[::-1]
    ax = ax or _new_axes()
    colours = [TONES_OF_BARS[_TONES.get(name, "busy")] for name, _ in counts]
    bars = ax.barh([name for name, _ in counts], [count for _, count in counts], color=colours)
    ax.bar_label(bars, padding=3)
    ax.set_xlabel("calls")
    ax.margins(x=0.1)
    return ax


def plot_talk_time(items: Iterable[CallLike], *, ax: Any = None) -> Any:
    """Draw how long the conversations were, and return matplotlib's ``Axes``.

    Args:
        items: As for `to_frame`. Calls that were not answered have no conversation.
        ax: As for `plot_outcomes`.

    Raises:
        ConfigurationError: As for `plot_outcomes`.
    """
    seconds = [row["talk_seconds"] for row in _rows(items) if row["answered"]]
    ax = ax or _new_axes()
    ax.hist([each for each in seconds if each is not None], color=TONES_OF_BARS["good"])
    ax.set_xlabel("talk time, seconds")
    ax.set_ylabel("calls")
    return ax


def _new_axes() -> Any:
    try:
        pyplot = import_module("matplotlib.pyplot")
    except ImportError:
        raise _missing("matplotlib") from None
    return pyplot.subplots(figsize=(6, 2.5), layout="constrained")[1]


def _frame_library(wanted: str | None) -> tuple[str, Any]:
    """Return the library that makes frames, and its name."""
    names = ("pandas", "polars")
    if wanted is not None and wanted not in names:
        raise ConfigurationError(f'library must be "pandas" or "polars", not {shown(wanted)}')
    for name in [wanted] if wanted else sorted(names, key=lambda name: name not in sys.modules):
        with suppress(ImportError):
            return name, import_module(name)
    raise _missing(wanted or "pandas or polars")


def _missing(library: str) -> ConfigurationError:
    return ConfigurationError(
        f'{library} is not installed: pip install "telecmi-async[notebook]" installs pandas and '
        "matplotlib"
    )


def _rows(items: Iterable[CallLike], *, reveal: bool = False) -> Iterator[dict[str, object]]:
    for item in items:
        match item:
            case CallHandle():
                yield _call_row(item.result, item, reveal=reveal)
            case CallResult():
                yield _call_row(item, None, reveal=reveal)
            case Contact():
                over = item.state is ContactState.FINISHED
                outcome = _ANSWERS[item.answered if over else None] or str(item.state)
                yield {"outcome": outcome} | flat_row(export_row(item, masked=not reveal))
            case _:
                raise ConfigurationError(
                    f"a frame or plot is made of call handles, call results or contacts, not of "
                    f"{shown(item)}"
                )


def _call_row(
    result: CallResult, call: CallHandle | None, *, reveal: bool
) -> dict[str, object]:
    record = next((leg.record for leg in result.legs if leg.leg == "a"), None)
    status = None if call is None else call.status
    if status not in {None, CallStatus.PROGRESS}:
        otherwise: str | None = status
    elif result.legs:
        otherwise = "ended" if result.over else "under way"
    else:
        otherwise = "accepted" if result.request_id else None
    return {
        "to": result.to and (str(result.to) if reveal else mask(result.to)),
        "outcome": _ANSWERS[result.answered] or otherwise,
        "status": status and status.value,
        "error": str(call.error) if call and call.error else None,
        "attempts": call and len(call.attempts),
        "stage": result.stage.value,
        "answered": result.answered,
        "talk_seconds": result.talk_seconds,
        "cost": None if result.cost is None else float(result.cost),
        "started_at": record and record.start_time,
        "answered_at": record and answer_time_of(record),
        "ended_at": record and record.end_time,
        "request_id": result.request_id,
        "reference": result.reference,
    }
