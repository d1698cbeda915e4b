"""Page views: the overview, the faults, and the magic numbers."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

from telecmi_async._internal.html import joined, tag
from telecmi_async.simulator.callee import MAGIC
from telecmi_async.simulator.fault import FaultKind
from telecmi_async.simulator.page.call_views import call_table, newest_calls
from telecmi_async.simulator.page.elements import html_row, html_table, section
from telecmi_async.simulator.page.layout import PageView
from telecmi_async.simulator.page.request_views import request_table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from telecmi_async._internal.html import Child, Html
    from telecmi_async.simulator.fault import Fault
    from telecmi_async.simulator.options import SimulatorOptions
    from telecmi_async.simulator.page.layout import PageModel

_MOST_LIVE: Final = 50
_MOST_OTHERS: Final = 20
_MOST_REQUESTS: Final = 10
_MINUTES: Final = (1, 5, 30)


# -- overview


def overview(page: PageModel, _: Mapping[str, str]) -> PageView:
    """Return the counts, and the newest calls and requests."""
    live = page.world.live
    now = list(islice(reversed(live.values()), _MOST_LIVE))
    newest, total = newest_calls(page)
    rest = (call for call in newest if call.request_id not in live)
    over = list(islice(rest, _MOST_OTHERS))
    recent = page.log.recent
    last = list(islice(reversed(recent), _MOST_REQUESTS))
    skips = [
        page.button("advance", f"+{n} min", label=f"Let {n} min pass", minutes=n)
        for n in _MINUTES
    ]
    beside = tag("div", "Let time pass", *skips, classes="beside")
    body = joined(
        _counts(page),
        section(
            "Calls now",
            call_table(page, "Calls now", now, "No call is going on."),
            _all("calls", "calls", len(live) - len(now)),
            beside=beside,
        ),
        section(
            "Other calls",
            call_table(page, "Other calls", over, "None is over yet."),
            _all("calls", "calls", total - len(live) - len(over)),
        ),
        section(
            "Newest requests",
            request_table(page, last, "No request yet."),
            _all("requests", "requests", len(recent) - len(last)),
        ),
    )
    return PageView(title="Overview", place="./", body=body)


def _all(place: str, label: str, left_out: int) -> Html | None:
    """Return a link to a whole list, if some of it is left out."""
    if left_out <= 0:
        return None
    link = tag("a", f"all {label}", href=place)
    return tag("p", f"and {left_out:,} older: ", link, classes="more")


def _counts(page: PageModel) -> Html:
    log, again = page.log, len(page.log.dialled_again)
    waiting = sum(delivery.next_at is not None for delivery in page.world.deliveries)
    counts = [
        ("Calls now", len(page.world.live), None),
        ("Requests", log.requests, None),
        ("Numbers dialled", len(log.placed), None),
        ("Dialled again", again, "alert" if again else None),
        ("Busiest second", log.arrivals.highest, None),
        ("Messages to come", waiting, None),
    ]
    pairs = [
        tag("div", tag("dt", label), tag("dd", f"{n:,}"), classes=classes)
        for label, n, classes in counts
    ]
    return tag("dl", *pairs, classes="counts")


# -- faults


def faults(page: PageModel, _: Mapping[str, str]) -> PageView:
    """Return the rules and options that hold now, and the form for another rule."""
    rules = [_rule(page, number, fault) for number, fault in page.options.faults]
    rows = rules + _options(page.options)
    magic = " Magic numbers still do what they stand for." if page.options.magic else ""
    empty = f"No rule and no option lets requests go wrong.{magic}"
    columns = ["Rule", "What happens", "To", "Share of attempts", "Attempts", ""]
    clear = tag("div", page.button("clear_faults", "Remove all"), classes="beside")
    body = joined(
        section(
            "Rules that hold",
            tag("p", "The first one that fits decides. Magic numbers are left alone."),
            html_table("Rules", columns, rows, empty=empty),
            beside=clear if rules else None,
        ),
        section("Add a rule", _new_rule(page)),
    )
    return PageView(title="Faults", place="faults", steady=True, body=body)


def _options(options: SimulatorOptions) -> list[Html]:
    """Return what goes wrong by the simulator's options."""
    found: list[tuple[str, Child, str]] = []
    if options.calls_per_second is not None:
        found.append(
            (f"429 above {options.calls_per_second} calls a second", "", "calls_per_second")
        )
    if options.files is not None:
        found.append(("404 for a file that is not uploaded", "", "files"))
    if share := options.error_502_share:
        label = "502 with TeleCMI's body"
        if options.error_502_kind == "gateway":
            placed = 100 * options.gateway_placed_share
            label = f"502 of a gateway, and {placed:g} % of the calls are placed"
        found.append((label, f"{100 * share:g} %", "error_502_share"))
    return [
        html_row(
            "option",
            label,
            ("every number", "digits"),
            (much, "number"),
            "all",
            (tag("code", name), "number"),
        )
        for label, much, name in found
    ]


def _rule(page: PageModel, number: int, fault: Fault) -> Html:
    tries = {None: "all", 1: "the first one"}.get(fault.attempts, f"the first {fault.attempts}")
    return html_row(
        (number, "number"),
        fault.kind.label,
        ("every number" if fault.to is None else page.number(fault.to), "digits"),
        (f"{100 * fault.share:g} %", "number"),
        tries,
        page.button("remove_fault", "Remove", label=f"Remove rule {number}", rule=number),
        mark=f"f-{number}",
    )


def _new_rule(page: PageModel) -> Html:
    kinds = [tag("option", kind.label, value=kind.value) for kind in FaultKind]
    to = tag("input", id="to", name="to", inputmode="tel", maxlength=30)
    share = tag("input", id="share", name="share", type="number", min=0, max=100, step="any",
                value=100, required=True)  # fmt: skip
    attempts = tag("input", id="attempts", name="attempts", type="number", min=1, step=1)
    form = page.form(
        "add_fault",
        _field("kind", "What happens", tag("select", *kinds, id="kind", name="kind")),
        _field("to", "Number, or empty for every number", to),
        _field("share", "Share of attempts, in %", share),
        _field("attempts", "First attempts for a number, or empty for all", attempts),
        tag("button", "Add"),
    )
    return tag("div", form, classes="add")


def _field(name: str, label: str, control: Html) -> Html:
    return tag("div", tag("label", label, for_=name), control, classes="field")


# -- magic numbers


def numbers(page: PageModel, _: Mapping[str, str]) -> PageView:
    """Return what the last four digits of a number stand for."""
    rows = [html_row((f"…{digits}", "digits"), magic.label) for digits, magic in MAGIC.items()]
    off = tag("p", "They are switched off in this simulator: magic=False.", classes="note")
    body = joined(
        None if page.options.magic else off,
        tag("p", "The last four digits of a number can choose what happens to a call."),
        html_table("Magic numbers", ["Number", "What happens"], rows),
    )
    return PageView(title="Magic numbers", place="numbers", body=body)
