"""What notebooks show: HTML that data cannot break out of, progress, and results as dicts."""

from __future__ import annotations

import asyncio
import html
import json
import re
import sys
from datetime import UTC, datetime
from decimal import Decimal
from html.parser import HTMLParser
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from attrs import evolve

from telecmi_async import (
    CallHandle,
    CallResult,
    CallService,
    CallStream,
    CdrPoller,
    ConfigurationError,
    Flow,
    Progress,
    Pstn,
    notebook,
)
from telecmi_async._internal.frozen_json import JsonObject
from telecmi_async.events import CallRecord, CallState, LegState, Stage
from telecmi_async.ledger import CampaignState, Contact, ContactState, Passage
from telecmi_async.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import Callable

TO, FROM = 19170000001, 19170000000
SECRET = "cAnArY-kQzW-xPlM-vBnR"
# What a text must not do: start an element or an attribute, reverse a line, reach a terminal,
# break UTF-8, or fill the page.
HOSTILE = (
    "<script>x</script>\"'><img src=x onerror=y>&amp;\u202e\x1b[31m\ud800 +1 917 000 0001 "
)
HUGE = HOSTILE + "A" * 50_000
# As far as a call flow takes it: control characters are refused before.
IN_A_FLOW = (
    "<script>x</script>\"'><img src=x onerror=y>&amp;\u202e +1 917 000 0001 " + "A" * 9_000
)

ELEMENTS = {
    *("bdi", "code", "details", "div", "li", "ol", "span", "strong", "summary"),
    *("table", "tbody", "td", "th", "thead", "tr", "ul"),
}
ATTRIBUTES = {"aria-label", "role", "scope", "style"}


def record(**fields: Any) -> CallRecord:
    """Return a record of an answered leg."""
    times: dict[str, Any] = {
        "start_time": datetime(2026, 1, 1, 10, 0, 0, tzinfo=UTC),
        "answer_time": datetime(2026, 1, 1, 10, 0, 6, tzinfo=UTC),
        "end_time": datetime(2026, 1, 1, 10, 0, 40, tzinfo=UTC),
    }
    given = {"to": str(TO), "status": "answered", "call_rate": Decimal("0.390000")}
    return CallRecord(raw=JsonObject(), **(times | given | fields))


def result_of(*legs: LegState, stage: Stage = Stage.COMPLETED, **fields: Any) -> CallResult:
    """Return a result with these legs."""
    ids: dict[str, Any] = {"to": TO, "request_id": "r" * 43, "reference": "tcm_" + "a" * 26}
    return CallResult(state=CallState(stage=stage, legs=legs), **(ids | fields))


def carrier(status: int, **body: Any) -> httpx.MockTransport:
    """Return a network in which TeleCMI answers each request alike."""
    return httpx.MockTransport(lambda _: httpx.Response(status, text=json.dumps(body)))


async def a_handle(words: str = HUGE) -> CallHandle:
    """Return the handle of a call that TeleCMI refused with hostile words."""
    refusing = carrier(420, code=420, msg=words)
    async with (
        httpx.AsyncClient(transport=refusing) as client,
        CallService(1, SECRET, from_=FROM, http_client=client) as service,
    ):
        call = service.make_call(to=TO, pcmo=Flow().speak(IN_A_FLOW).hangup())
        with pytest.raises(Exception, match="420"):
            await call
        return call


async def a_flow() -> Flow:
    """Return a flow of every kind of step, with hostile texts where a flow takes them."""
    token = "https://example.org/hooks/" + "t" * 43
    return (
        Flow()
        .speak(IN_A_FLOW)
        .input(token)
        .play_get_input(f"{token}?a=<b>", file_name="<i>.wav", timeout=9)
        .bridge([Pstn(TO), FROM], timeout=20)
        .raw({"action": "<b>x</b>", IN_A_FLOW: f"<script>{IN_A_FLOW}"})
    )


async def a_result() -> CallResult:
    """Return the result of a call whose record is hostile."""
    leg = LegState(leg="a", stage=Stage.COMPLETED, record=record(to=HUGE))
    return result_of(leg, LegState(leg=HUGE), request_id=HUGE)


async def a_stream() -> CallStream:
    """Return a stream of accepted calls and of rows that cannot be read."""
    accepting = carrier(200, code=200, request_id="r" * 43)
    rows: list[dict[str, object]] = [{"to": TO, "pcmo": [{"action": "hangup"}]}, {HUGE: HUGE}]
    async with (
        httpx.AsyncClient(transport=accepting) as client,
        CallService(1, SECRET, from_=FROM, http_client=client) as service,
    ):
        calls = service.make_calls(rows)
        assert {call.status.value async for call in calls} == {"progress", "invalid"}
        return calls


async def a_campaign(name: str = HUGE) -> CampaignState:
    """Return the state of a campaign with a hostile name."""
    counts = dict.fromkeys(ContactState, 3)
    return CampaignState(
        name=name, status="paused", asked="paused", why=HUGE, counts=counts, sends=9, cost=1.5
    )


@pytest.mark.parametrize(("status", "workers"), [("dialling", 2), ("dialling", 0), ("done", 0)])
def test_the_card_of_a_campaign_says_how_it_goes_on(status: Any, workers: int) -> None:
    """It has the rate and the time left while it dials, and the answers as soon as there are some."""
    left = 60 if status == "dialling" else 0
    state = CampaignState(
        name="spring",
        status=status,
        asked="running",
        why="",
        counts=dict.fromkeys(ContactState, 0) | {ContactState.PENDING: left},
        sends=8,
        cost=1.5,
        ended=4,
        answered=3,
        talk_seconds=120,
        rate=0.5,
        workers=workers,
    )
    shown = state._repr_html_()

    assert "3 of 4 (75%)" in shown
    assert ("about 2 min" in shown) is (status == "dialling")
    assert (">0.5<" in shown) is (status == "dialling")
    assert ("none holds a contact" in shown) is (status == "dialling" and not workers)
    untold = evolve(state, rate=0.0, ended=0, answered=0)._repr_html_()
    assert "answered" not in untold
    assert "time left" not in untold


async def a_contact() -> Contact:
    """Return a contact with a hostile history."""
    passages = [Passage(at=1e9 + n, what=HUGE, detail=HUGE) for n in range(300)]
    return Contact(
        number=TO,
        state=ContactState.FINISHED,
        reason=HUGE,
        sends=1,
        columns={HUGE: f"{SECRET} {HUGE}"},
        request_id=HUGE,
        answered=False,
        talk_seconds=0,
        cost=0.0,
        waits_until=1e9,
        history=passages,
    )


class Reader(HTMLParser):
    """Reads HTML, and notes what a notebook must not show."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.faults: list[str] = []
        self.open: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element or an attribute that no value of this package has."""
        self.open.append(tag)
        if tag not in ELEMENTS:
            self.faults.append(f"<{tag}>")
        for name, value in attrs:
            if name not in ATTRIBUTES or re.search(r"url|//|expression", value or ""):
                self.faults.append(f"{name}={value}")

    def handle_endtag(self, tag: str) -> None:
        """Note an element that ends before one inside it."""
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        """Keep the text."""
        self.text.append(data)


def faults_of(shown: str) -> list[str]:
    """Return what is wrong with a value's HTML."""
    reader = Reader()
    reader.feed(shown)
    reader.close()
    text = " ".join(reader.text)
    faults = [*reader.faults, *(f"<{tag}> is left open" for tag in reader.open)]
    faults += [f"{ord(sign):x} in the text" for sign in set(shown) if not sign.isprintable()]
    faults += [
        f"{word} is shown"
        for word in (SECRET, str(TO), "917 000 0001", "t" * 43)
        if word in text
    ]
    if len(shown) > 150_000:
        faults.append(f"{len(shown)} characters")
    return faults


SHOWN = [a_campaign, a_contact, a_flow, a_handle, a_result, a_stream]


@pytest.mark.anyio
@pytest.mark.parametrize("make", SHOWN)
async def test_data_cannot_break_out_of_what_a_notebook_shows(
    make: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hostile texts stay short and masked text; without escaping the same check finds them."""
    value = await make()

    shown = value._repr_html_()
    monkeypatch.setattr(html, "escape", lambda text: text)
    unescaped = value._repr_html_()

    assert faults_of(shown) == []
    shown.encode()
    # A stream shows counts alone: it has no text that could break out.
    assert make is a_stream or faults_of(unescaped) != []


def test_every_class_that_a_notebook_shows_is_tried() -> None:
    """The list above has each class of the package that has a form for notebooks."""
    with_forms = {
        kind.__name__
        for name, module in sys.modules.items()
        if name.startswith("telecmi_async.")
        for kind in vars(module).values()
        if isinstance(kind, type) and "_repr_html_" in vars(kind)
    }
    tried = {make.__annotations__["return"] for make in SHOWN}

    assert with_forms == tried | {"Progress"}  # a stream shows its progress


def words_of(value: Any) -> str:
    """Return the text that a notebook shows for a value."""
    reader = Reader()
    reader.feed(value._repr_html_())
    assert reader.faults == []
    return re.sub(" +", " ", " ".join(reader.text))


@pytest.mark.anyio
async def test_a_call_is_shown_with_its_status_and_error() -> None:
    """A handle shows its masked number, what its status means, and its failed attempts."""
    words = words_of(await a_handle("no balance"))

    assert "Call to •••••••0001" in words
    assert "rejected: TeleCMI refused it: no phone rang" in words
    assert "no balance" in words


@pytest.mark.anyio
async def test_an_attached_call_is_shown_without_its_request() -> None:
    """A handle for an id alone shows no number and no flow; a possible duplicate is noted."""
    accepting = carrier(200, code=200)
    async with (
        httpx.AsyncClient(transport=accepting) as client,
        CallService(
            1,
            SECRET,
            from_=FROM,
            http_client=client,
            events=CdrPoller(),
        ) as service,
    ):
        call = service.handle_for("r" * 43)
        call._call.placement.note_duplicate()
        words = words_of(call)

    assert words.startswith("Call status")
    assert "TeleCMI may have placed it twice" in words
    assert "call flow" not in words


@pytest.mark.anyio
async def test_a_flow_is_shown_as_steps() -> None:
    """Each action is a step with its values, and what a bridge rings stands under it."""
    words = words_of(Flow().speak("Hello").bridge([Pstn(TO)], timeout=20).hangup())

    assert words == "Call flow speak · Hello bridge · timeout 20 s pstn •••••••0001 hangup"


def test_very_long_flows_are_cut() -> None:
    """Of many steps, and of many targets, the first are shown and the others counted."""
    many = Flow([{"action": "hangup"}] * 150)
    wide = Flow().bridge([Pstn(TO)] * 130)

    assert "and 50 more" in words_of(many)
    assert "and 30 more" in words_of(wide)


def test_a_result_is_shown_as_time_lines() -> None:
    """Each leg's line says when it was dialled, answered and ended; missed legs have no answer."""
    late = datetime(2026, 1, 1, 10, 0, 10, tzinfo=UTC)
    missed = record(status="missed", start_time=late, call_rate=None)
    words = words_of(
        result_of(
            LegState(leg="a", cmiuuid="1", stage=Stage.COMPLETED, record=record()),
            LegState(leg="b", cmiuuid="2", stage=Stage.MISSED, record=missed),
            LegState(leg="b", cmiuuid="3", stage=Stage.RINGING),
            LegState(leg="b", cmiuuid="4", stage=Stage.COMPLETED, record=record(end_time=None)),
        )
    )

    assert (
        "10:00:00 UTC dialled, rang 6 s; 10:00:06 answered, talked 34 s; 10:00:40 ended"
        in words
    )
    assert "10:00:10 UTC dialled, rang 30 s; 10:00:40 ended" in words
    assert words.count("no record so far") == 1
    assert words.count("its record has no start and end time: a look-up returns none") == 1
    assert "not all have arrived" in words


def test_a_result_of_which_nothing_is_known_is_shown() -> None:
    """What is not known is said in words."""
    words = words_of(result_of(stage=Stage.NEW, to=None, request_id=None))

    assert words.startswith("Result of a call")
    assert words.count("not known") == 4


def test_progress_is_shown_out_of_all_requests() -> None:
    """Where the number of requests is known, progress is a part of that number."""
    words = words_of(
        Progress(pulled=8, accepted=5, unknown=1, retried=2, total=20, seconds=1.5)
    )

    assert "6 of 20 calls settled, 2 took more than one request, 1.5 s" in words
    assert "unknown 1 no trustworthy answer came: a phone may have rung" in re.sub(
        " +", " ", words
    )
    assert "0 of 3 calls settled" in words_of(Progress(pulled=3))


@pytest.mark.anyio
async def test_a_campaign_is_shown_by_states() -> None:
    """Each state has its count and what it means."""
    words = words_of(await a_campaign("reminders"))

    assert words.startswith("Campaign reminders: paused (")
    assert "finished 3 over, and how it went is known" in words


def test_a_contact_is_shown_with_what_is_known() -> None:
    """Values that are not known are left out, and a history is optional."""
    known = Contact(
        number=TO, state=ContactState.FINISHED, reason="", sends=2, columns={}, answered=True
    )
    words = words_of(known)

    assert words.startswith("Contact •••••••0001")
    assert "answered yes" in words
    assert "talk time" not in words


# --- interrupted cells, whose kernels are in tests/processes ------------------------------


@pytest.mark.asyncio
@pytest.mark.parametrize(("block", "dialled"), [(True, 40), (False, 60)])
async def test_a_stream_whose_loop_was_interrupted(block: bool, dialled: int) -> None:
    """Inside `async with` nothing more is started, else twice as many as may be in flight."""
    simulator = Simulator(latency=1)
    seen: list[int] = []
    async with simulator.service(from_=FROM) as service:
        stream = service.make_calls(
            {"to": FROM + n, "pcmo": [{"action": "hangup"}]} for n in range(1, 101)
        )

        async def loop() -> None:
            async for call in stream:
                seen.extend([call.source["to"]] if call.attempts else [])

        async def cell() -> None:
            async with stream:
                await loop()

        task = asyncio.create_task(cell() if block else loop())
        await asyncio.sleep(1.5)
        task.cancel()
        await asyncio.wait([task])
        await asyncio.sleep(3)
        assert (len(seen), simulator.numbers()) == (20, dialled)
        await stream.aclose()
        await loop()

    assert len(seen) == len(set(seen)) == dialled


@pytest.mark.asyncio
@pytest.mark.parametrize("loaded", [True, False])
async def test_only_ipython_finds_a_form_for_an_interrupt(
    loaded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error of a cancelled wait is changed where IPython is loaded, and nowhere else."""
    monkeypatch.setitem(sys.modules, "IPython", None)
    if not loaded:
        monkeypatch.delitem(sys.modules, "IPython")
    async with Simulator(latency=1).service(from_=FROM) as service:
        call = service.make_call(to=TO, pcmo=[{"action": "hangup"}])
        task = asyncio.ensure_future(call)
        await asyncio.sleep(0.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task

    assert hasattr(caught.value, "_render_traceback_") is loaded
    if loaded:
        (line,) = caught.value._render_traceback_()  # type: ignore[attr-defined]  # set for IPython
        assert line.startswith("Interrupted: only the waiting ended.")


# --- results as dicts ---------------------------------------------------------------------


def test_a_result_is_a_dict_for_json() -> None:
    """All of it is JSON: numbers and costs are text, times ISO 8601, unknown values null."""
    leg = LegState(leg="a", cmiuuid="c" * 36, stage=Stage.COMPLETED, record=record())
    missed = record(status="missed", call_rate=None, hangup_reason="NO_ANSWER")
    made = result_of(leg, LegState(leg="b", record=missed)).to_dict()

    assert json.loads(json.dumps(made)) == made
    assert made | {"legs": None} == {
        "to": "19170000001",
        "request_id": "r" * 43,
        "reference": "tcm_" + "a" * 26,
        "stage": "completed",
        "answered": True,
        "over": True,
        "complete": True,
        "talk_seconds": 34,
        "cost": "0.39",
        "legs": None,
    }
    assert made["legs"] == [
        {
            "leg": "a",
            "cmiuuid": "c" * 36,
            "stage": "completed",
            "to": "19170000001",
            "status": "answered",
            "started_at": "2026-01-01T10:00:00.000+00:00",
            "answered_at": "2026-01-01T10:00:06.000+00:00",
            "ended_at": "2026-01-01T10:00:40.000+00:00",
            "talk_seconds": 34,
            "cost": "0.39",
            "hangup_reason": None,
            "recording": None,
        },
        {
            "leg": "b",
            "cmiuuid": None,
            "stage": "new",
            "to": "19170000001",
            "status": "missed",
            "started_at": "2026-01-01T10:00:00.000+00:00",
            "answered_at": None,
            "ended_at": "2026-01-01T10:00:40.000+00:00",
            "talk_seconds": 0,
            "cost": None,
            "hangup_reason": "NO_ANSWER",
            "recording": None,
        },
    ]


def test_a_result_of_which_nothing_is_known_is_a_dict() -> None:
    """What is not known is None, and legs without a record have their keys."""
    result = result_of(LegState(leg="a"), stage=Stage.NEW, to=None, request_id=None)
    made: dict[str, Any] = result.to_dict()
    (leg,) = made.pop("legs")

    known = {key: value for key, value in made.items() if value is not None}
    assert known == {
        "reference": "tcm_" + "a" * 26, "stage": "new", "over": False, "complete": False,
    }  # fmt: skip
    assert {key for key, value in leg.items() if value is not None} == {"leg", "stage"}


# --- the module for notebooks -------------------------------------------------------------


@pytest.mark.anyio
async def test_a_handle_is_a_row_with_its_error() -> None:
    """Frames of handles have their status, attempts and errors."""
    rows: list[dict[str, object]] = [
        {"to": TO, "pcmo": [{"action": "hangup"}]},
        {"to": "x", "pcmo": []},
    ]
    async with Simulator().service(from_=FROM) as service:
        calls = [call async for call in service.make_calls(rows)]
    found = {row["status"]: row for row in notebook._rows(calls)}

    accepted, invalid = found["progress"], found["invalid"]
    assert (accepted["outcome"], accepted["attempts"], accepted["error"]) == (
        "accepted",
        1,
        None,
    )
    assert (invalid["outcome"], invalid["attempts"], invalid["to"]) == ("invalid", 0, None)
    assert "is not a phone number" in str(invalid["error"])


class Place:
    """Stands for what IPython's `display` returns."""

    def __init__(self, shown: list[object]) -> None:
        self.update = shown.append


@pytest.mark.parametrize("shell", [None, SimpleNamespace()], ids=["none", "terminal"])
def test_progress_outside_a_notebook_shows_nothing(
    shell: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without IPython, or in its terminal form, the function does nothing."""
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    notebook.show_progress()(Progress())
    monkeypatch.delitem(sys.modules, "IPython")
    notebook.show_progress()(Progress())


def test_progress_in_a_notebook_has_one_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first snapshot makes the place; later ones change it, at most five times a second."""
    shown: list[object] = []
    times = iter([0.0, 0.1, 0.3, 0.31, 0.32])

    def display(snapshot: object, *, display_id: bool) -> Place:
        assert display_id
        shown.append(snapshot)
        return Place(shown)

    fake = SimpleNamespace(
        get_ipython=lambda: SimpleNamespace(kernel=1), display=SimpleNamespace(display=display)
    )
    monkeypatch.setitem(sys.modules, "IPython", fake)
    monkeypatch.setattr(notebook, "monotonic", lambda: next(times))
    show = notebook.show_progress()
    snapshots = [Progress(pulled=5, accepted=n) for n in (1, 2, 3, 4, 5)]
    for snapshot in snapshots:
        show(snapshot)

    assert shown == [snapshots[0], snapshots[2], snapshots[4]]


@pytest.mark.parametrize(
    ("make", "library"),
    [
        (lambda: notebook.to_frame([]), "pandas or polars"),
        (lambda: notebook.to_frame([], library="pandas"), "pandas"),
        (lambda: notebook.to_frame([], library="polars"), "polars"),
        (lambda: notebook.plot_outcomes([]), "matplotlib"),
        (lambda: notebook.plot_talk_time([]), "matplotlib"),
    ],
)
def test_a_missing_library_is_named(
    make: Callable[[], object], library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the library and the command that installs it."""
    for name in ("pandas", "polars", "matplotlib.pyplot"):
        monkeypatch.setitem(sys.modules, name, None)

    with pytest.raises(ConfigurationError, match=f'^{library} is not installed: pip install "'):
        make()


@pytest.mark.parametrize("item", [None, 5, {"to": TO}, f"{SECRET}{TO}"])
def test_a_frame_of_something_else_is_refused(item: Any) -> None:
    """What is neither a call nor a contact is refused, without showing a number."""
    with pytest.raises(ConfigurationError, match="is made of call handles") as caught:
        notebook.to_frame([item])
    with pytest.raises(ConfigurationError, match="library must be"):
        notebook.to_frame([], library="excel")  # type: ignore[arg-type]  # that is what is tested

    assert str(TO) not in str(caught.value)
