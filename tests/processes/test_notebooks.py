"""Notebooks in a real kernel: interrupted cells, progress in place, and the one in the docs.

They take seconds, because a kernel is a process and is interrupted by a signal.
"""

from __future__ import annotations

import importlib
import os
import sys
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import nbclient
import nbformat
import pytest
from kernels import Kernel, running_kernel
from project_paths import docs_page

from telecmi_async import CallResult, notebook
from telecmi_async._internal.frozen_json import JsonObject
from telecmi_async.events import CallRecord, CallState, LegState, Stage
from telecmi_async.ledger import Contact, ContactState

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# In each cell the simulator answers a request after a second, so that there is time to interrupt.
OPEN = """
from contextlib import AsyncExitStack
from telecmi_async import Hangup, RateLimit, Receiver
from telecmi_async.campaigns import Campaign, CampaignSettings, Pace
from telecmi_async.events.receiver import new_token
from telecmi_async.ledger import NewContact, SqliteLedger
from telecmi_async.notebook import show_progress
from telecmi_async.simulator import Simulator

FLOW, FROM = [Hangup()], 19170000000
stack = AsyncExitStack()
simulator = Simulator(latency=0.5)
service = await stack.enter_async_context(
    simulator.service(from_=FROM, events=Receiver(new_token()), rate=RateLimit(20, max_in_flight=10))
)
seen = []
"""


@pytest.fixture(scope="module")
def started_kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    """Start a kernel for all tests: it takes a second."""
    with running_kernel(tmp_path_factory.mktemp("kernel")) as kernel:
        yield kernel


@pytest.fixture
def kernel(started_kernel: Kernel) -> Iterator[Kernel]:
    """Open a service on a new simulator in the kernel, and close it."""
    assert started_kernel.run(OPEN) == []
    yield started_kernel
    assert started_kernel.run("await stack.aclose()") == []


def one_line(shown: list[dict[str, Any]]) -> str:
    """Return the line that an interrupted cell ends with; it must be one, and the last output."""
    *others, error = shown
    assert [each["type"] for each in others if each["type"] == "error"] == []
    assert error["type"] == "error", error
    (line,) = error["traceback"]
    assert "\n" not in line
    assert error["ename"] == "CancelledError"
    return str(line)


@pytest.mark.parametrize(
    "wait",
    [
        "await call",
        "await call.ended()",
        "async for event in call.events(): pass",
        "import asyncio\nawait asyncio.gather(call, service.make_call(to=FROM + 2, pcmo=FLOW))",
        "async with asyncio.timeout(60):\n    await call",
    ],
    ids=["await", "ended", "events", "gather", "timeout"],
)
def test_an_interrupted_wait_ends_in_one_line(kernel: Kernel, wait: str) -> None:
    """The call goes on, and the next cell has its outcome."""
    shown = kernel.run(
        f"import asyncio\ncall = service.make_call(to=FROM + 1, pcmo=FLOW)\n{wait}",
        interrupt=True,
    )

    assert one_line(shown).startswith("Interrupted: only the waiting ended. The call goes on")
    assert kernel.value("(await call).accepted") == "True"


@pytest.mark.parametrize("block", [True, False], ids=["async with", "loop"])
def test_an_interrupted_loop_over_many_calls_loses_none(kernel: Kernel, block: bool) -> None:
    """The next cell takes the calls that were sent; each number was dialled once."""
    loop = "async for call in stream:\n    seen.append(call)"
    inside = f"async with stream:\n    {loop.replace(chr(10), chr(10) + '    ')}"
    shown = kernel.run(
        "stream = service.make_calls({'to': FROM + n, 'pcmo': FLOW} for n in range(1, 101))\n"
        + (inside if block else loop),
        interrupt=True,
    )
    if not block:
        kernel.run("await stream.aclose()")
    assert kernel.run(loop) == []

    assert one_line(shown).startswith("Interrupted: no call is lost.")
    assert (
        kernel.value(
            "sent = [call.request.to for call in seen if call.attempts]\n"
            "len(sent) == len(set(sent)) == simulator.numbers() == simulator.requests > 0"
        )
        == "True"
    )


def test_an_interrupted_campaign_goes_on_in_the_next_cell(kernel: Kernel) -> None:
    """What was sent is on record; run again, it dials the others, and nobody twice."""
    kernel.run(
        "ledger = await stack.enter_async_context(SqliteLedger('l.db'))\n"
        "settings = CampaignSettings(flow=FLOW, pace=Pace(calls_per_second=20))\n"
        "campaign = Campaign(ledger, service, 'reminders', settings, without_events=True)\n"
        "await campaign.load(NewContact(number=FROM + n) for n in range(1, 31))"
    )
    shown = kernel.run("await campaign.run(on_progress=show_progress())", interrupt=True)
    assert one_line(shown).startswith("Interrupted: what was sent is on record")
    assert "'sending'" not in kernel.value("await campaign.state()")

    again = kernel.run("(await campaign.run()).counts['placed']")

    assert again[-1]["data"]["text/plain"] == "30"
    assert kernel.value("simulator.numbers(), simulator.duplicates()") == "(30, 0)"


def test_progress_changes_in_its_place(kernel: Kernel) -> None:
    """One output is made for the cell, and each later snapshot updates it, the last one too."""
    shown = kernel.run(
        "rows = [{'to': FROM + n, 'pcmo': FLOW} for n in range(1, 31)]\n"
        "async for call in service.make_calls(rows, on_progress=show_progress()):\n    pass"
    )

    assert [each["type"] for each in shown] == [
        "display_data",
        *["update_display_data"] * (len(shown) - 1),
    ]
    assert len(shown) > 2
    assert len({each["transient"]["display_id"] for each in shown}) == 1
    assert "30 of 30 calls settled" in shown[-1]["data"]["text/html"]


def kinds_of(outputs: list[dict[str, Any]]) -> list[str]:
    """Return the kinds of a cell's outputs, and what it printed."""
    kinds: list[str] = []
    for each in outputs:
        text = each.get("text") if each["output_type"] == "stream" else None
        kinds.append(text or ", ".join(sorted(each.get("data", {}))) or each["output_type"])
    return kinds


def test_the_notebook_of_the_docs_runs(tmp_path: Path) -> None:
    """It runs from top to bottom without an account, and stores what its cells show."""
    formats: Any = nbformat  # it has no types
    book = formats.read(docs_page("notebook.ipynb"), as_version=4)
    stored = [kinds_of(cell.get("outputs", [])) for cell in book.cells]
    prose = [cell.source for cell in book.cells if cell.cell_type == "markdown"]

    nbclient.NotebookClient(
        book, timeout=60, resources={"metadata": {"path": str(tmp_path)}}
    ).execute()

    # An output with a new display id replaces the one of the cell, as in Jupyter.
    assert [kinds_of(cell.get("outputs", [])) for cell in book.cells] == stored
    # Python in prose would not be run.
    assert [text for text in prose if "```python" in text] == []
    nbformat.validate(book)


# --- frames and plots: their libraries are of the extra ``notebook`` ------------------------


def results() -> list[CallResult]:
    """Return the results of calls: one answered, one missed, one of which nothing is known."""
    at = datetime(2026, 1, 1, 10, 0, 6, tzinfo=UTC)
    answered = CallRecord(
        raw=JsonObject(),
        to="19170000001",
        status="answered",
        answer_time=at,
        end_time=at.replace(second=40),
        call_rate=Decimal("0.39"),
    )
    missed = CallRecord(raw=JsonObject(), status="missed", answer_time=at)
    legs = {
        Stage.COMPLETED: (LegState(leg="a", record=answered),),
        Stage.MISSED: (LegState(leg="a", record=missed), LegState(leg="b")),
        Stage.HUNG_UP: (LegState(leg="a"),),
        Stage.RINGING: (LegState(leg="b"),),
        Stage.NEW: (),
    }
    return [
        CallResult(
            to=19170000001,
            request_id=f"r{n}",
            reference=f"tcm_{n}",
            state=CallState(stage=stage, legs=known),
        )
        for n, (stage, known) in enumerate(legs.items())
    ]


def contacts() -> list[Contact]:
    """Return a contact that talked, and one that is to be dialled."""
    done = Contact(
        number=19170000001,
        state=ContactState.FINISHED,
        reason="",
        sends=1,
        columns={"name": "Ada", "phone": "+1 917 000 0009"},
        answered=True,
        talk_seconds=34,
        cost=0.39,
        sent_at=1e9,
    )
    waits = Contact(
        number=19170000002, state=ContactState.PENDING, reason="", sends=0, columns={}
    )
    return [done, waits]


TYPES = {
    "pandas": {
        "talk_seconds": "Int64", "cost": "Float64", "answered": "boolean",
        "answered_at": "datetime64[us, UTC]", "sent_at": "datetime64[us, UTC]",
    },
    "polars": {
        "talk_seconds": "Int64", "cost": "Float64", "answered": "Boolean",
        "answered_at": "Datetime(time_unit='us', time_zone='UTC')",
        "sent_at": "Datetime(time_unit='us', time_zone='UTC')",
    },
}  # fmt: skip


def rows_of(frame: Any) -> list[dict[str, Any]]:
    """Return a frame's rows, with None for what is missing."""
    if hasattr(frame, "to_dicts"):
        found: list[dict[str, Any]] = frame.to_dicts()
        return found
    missing = importlib.import_module("pandas").isna
    return [
        {key: None if missing(value) else value for key, value in row.items()}
        for row in frame.to_dict("records")
    ]


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_frame_of_calls(library: Any) -> None:
    """Each column has its type whatever is missing, also of no calls; numbers are masked."""
    frame = notebook.to_frame(results(), library=library)
    rows = rows_of(frame)
    none = notebook.to_frame([], library=library)

    assert [str(frame[name].dtype) for name in TYPES[library] if name in frame.columns] == [
        kind for name, kind in TYPES[library].items() if name != "sent_at"
    ]
    assert list(none.columns) == list(frame.columns)
    assert [str(none[key].dtype) for key in none.columns] == [
        str(frame[key].dtype) for key in frame.columns
    ]
    assert [row["outcome"] for row in rows] == [
        "answered", "not answered", "ended", "under way", "accepted",
    ]  # fmt: skip
    assert [row["to"] for row in rows] == ["•••••••0001"] * 5
    assert [row["talk_seconds"] for row in rows] == [34, 0, None, None, None]
    assert [row["cost"] for row in rows] == [0.39, None, None, None, None]
    assert rows[0]["answered_at"].second == 6
    assert rows[1]["answered_at"] is None
    revealed = rows_of(notebook.to_frame(results(), library=library, reveal=True))
    assert revealed[0]["to"] == "19170000001"


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_frame_of_contacts(library: Any) -> None:
    """A contact's own columns follow the others; masked are the numbers in them, too."""
    frame = notebook.to_frame(contacts(), library=library)
    ada, waits = rows_of(frame)

    assert str(frame["sent_at"].dtype) == TYPES[library]["sent_at"]
    assert (ada["number"], ada["outcome"], ada["column.name"]) == (
        "•••••••0001",
        "answered",
        "Ada",
    )
    assert ada["column.phone"].endswith("0009")
    assert "917" not in ada["column.phone"]
    assert (waits["outcome"], waits["column.name"]) == ("pending", None)
    (revealed, _) = rows_of(notebook.to_frame(contacts(), library=library, reveal=True))
    assert revealed["number"] == "19170000001"


def test_the_library_in_use_makes_the_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a choice, the library that was imported is taken, pandas if it is both."""
    both = notebook.to_frame([])
    notebook.to_frame([], library="polars")
    monkeypatch.delitem(sys.modules, "pandas")
    polars = notebook.to_frame([])

    assert type(both).__module__.startswith("pandas")
    assert type(polars).__module__.startswith("polars")


def test_plots_are_axes_that_the_user_can_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both plots return Axes, draw on given ones, and count what the frame holds."""
    monkeypatch.setitem(os.environ, "MPLBACKEND", "agg")
    pyplot = importlib.import_module("matplotlib.pyplot")
    outcomes = notebook.plot_outcomes([*results(), *contacts()])
    outcomes.set_title("Mine")
    talked = notebook.plot_talk_time(results())
    same = notebook.plot_talk_time([], ax=notebook.plot_outcomes([], ax=outcomes))

    labels = [label.get_text() for label in outcomes.get_yticklabels()]
    assert (
        dict(zip(labels, [bar.get_width() for bar in outcomes.patches], strict=False))[
            "answered"
        ]
        == 2
    )
    assert sum(bar.get_height() for bar in talked.patches) == 1
    assert same is outcomes
    pyplot.close("all")
