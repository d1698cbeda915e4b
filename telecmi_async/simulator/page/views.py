"""Page views: the overview, the messages, the faults, and the magic numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from telecmi_async._internal.html import joined, tag
from telecmi_async._internal.messages import mask
from telecmi_async.simulator.callee import MAGIC
from telecmi_async.simulator.fault import FaultKind
from telecmi_async.simulator.page.elements import chip, html_row, html_table, older, section
from telecmi_async.simulator.page.flow import flow_steps, flow_strip
from telecmi_async.simulator.page.labels import delivery_id, span
from telecmi_async.simulator.page.layout import PageView

if TYPE_CHECKING:
    from collections.abc import Sequence

    from telecmi_async._internal.html import Html
    from telecmi_async.simulator.call import SimulatedCall
    from telecmi_async.simulator.fault import Fault
    from telecmi_async.simulator.page.layout import PageModel
    from telecmi_async.simulator.webhooks import Delivery

_MOST_CALLS: Final = 50
_MOST_MESSAGES: Final = 100
_MINUTES: Final = (1, 5, 30)
#: The colours of a call's stages.
TONES: Final = {
    "answered": "good",
    "bridged": "good",
    "completed": "good",
    "missed": "bad",
    "busy": "bad",
    "failed": "bad",
    "started": "busy",
    "ringing": "busy",
}


# -- overview


def overview(page: PageModel) -> PageView:
    """Return the counts, and the newest calls."""
    live = page.world.live
    rest = [call for call in page.world.calls.values() if call.request_id not in live]
    skips = [
        page.button("advance", f"+{n} min", label=f"Let {n} min pass", minutes=n)
        for n in _MINUTES
    ]
    beside = tag("div", "Let time pass", *skips, classes="beside")
    now = _calls(page, "Calls now", list(live.values()), "No call is going on.")
    body = joined(
        _counts(page),
        section("Calls now", now, beside=beside),
        section("Other calls", _calls(page, "Other calls", rest, "None is over yet.")),
    )
    return PageView(title="Overview", place="./", body=body)


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


def _calls(page: PageModel, caption: str, calls: Sequence[SimulatedCall], empty: str) -> Html:
    newest = calls[: -_MOST_CALLS - 1 : -1]
    rows = [
        html_row(
            _link(call),
            stage_chip(call),
            (span(page.world.now - call.accepted), "number"),
            flow_strip(flow_steps(call)),
            mark=f"c-{call.request_id}",
        )
        for call in newest
    ]
    columns = ["To", "State", "Since", "Call flow"]
    table = html_table(caption, columns, rows, empty=empty, classes="calls")
    return joined(table, older(len(calls) - len(newest)))


def _link(call: SimulatedCall) -> Html:
    return tag("a", mask(call.to), href=f"call?id={quote(call.request_id)}", classes="digits")


def stage_chip(call: SimulatedCall) -> Html:
    """Return how far a call has come."""
    return chip(TONES.get(call.stage, ""), call.stage)


# -- messages


def deliveries(page: PageModel) -> PageView:
    """Return the newest messages of all calls."""
    target = page.options.webhooks.to
    if target is None and not page.world.receivers:
        where = "They go nowhere: this simulator has no target for webhooks."
    elif isinstance(target, str):
        where = "They go to a URL, which is not shown: it holds a token."
    else:
        where = "They go into a receiver of this program's own."
    body = joined(tag("p", where), messages(page, list(page.world.deliveries)))
    return PageView(title="Messages to your program", place="deliveries", body=body)


def messages(page: PageModel, about: Sequence[Delivery]) -> Html:
    """Return messages as a table, the newest first."""
    newest = about[: -_MOST_MESSAGES - 1 : -1]
    columns = ["Message", "Leg", "Call", "Attempt", "Answer", "Next", ""]
    rows = [_message(page, delivery) for delivery in newest]
    table = html_table("Messages", columns, rows, empty="No message yet.", classes="messages")
    return joined(table, older(len(about) - len(newest)))


def _message(page: PageModel, delivery: Delivery) -> Html:
    this, what = delivery_id(delivery), delivery.what.replace("_", " ")
    label = f"Send {what} of leg {delivery.leg} again"
    return html_row(
        what,
        delivery.leg,
        _link(delivery.call),
        ("asked" if delivery.ask else f"{delivery.tries} of {delivery.most_tries}", "number"),
        _answer(delivery),
        (_next(page, delivery), "number"),
        page.button("send_again", "Send again", label=label, delivery=this),
        mark=f"d-{this}",
    )


def _answer(delivery: Delivery) -> Html:
    status = delivery.status
    if status is not None:
        return chip("good", f"{status} taken") if delivery.taken else chip("bad", f"{status}")
    if delivery.arrived or delivery.ask:
        return chip("busy", "no answer yet")
    return chip("bad", "lost") if delivery.tries else chip("", "not sent yet")


def _next(page: PageModel, delivery: Delivery) -> str:
    done = page.options.webhooks.redeliver == "until_2xx" and delivery.taken
    if delivery.next_at is None or done:
        return "no more"
    return f"in {span(delivery.next_at - page.world.now)}"


# -- faults


def faults(page: PageModel) -> PageView:
    """Return the rules that hold now, and the form for another."""
    rows = [_rule(page, number, fault) for number, fault in page.options.faults]
    columns = ["Rule", "What happens", "To", "Share of tries", "Tries for a number", ""]
    clear = tag("div", page.button("clear_faults", "Remove all"), classes="beside")
    body = joined(
        section(
            "Rules that hold",
            tag("p", "The first one that fits decides. Magic numbers are left alone."),
            html_table("Rules", columns, rows, empty="No rule holds: nothing goes wrong."),
            beside=clear if rows else None,
        ),
        section("Add a rule", _new_rule(page)),
    )
    return PageView(title="Faults", place="faults", typing=True, body=body)


def _rule(page: PageModel, number: int, fault: Fault) -> Html:
    tries = {None: "all", 1: "the first one"}.get(fault.attempts, f"the first {fault.attempts}")
    return html_row(
        (number, "number"),
        fault.kind.label,
        ("every number" if fault.to is None else mask(fault.to), "digits"),
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
        _field("share", "Share of tries, in %", share),
        _field("attempts", "First tries for a number, or empty for all", attempts),
        tag("button", "Add"),
    )
    return tag("div", form, classes="add")


def _field(name: str, label: str, control: Html) -> Html:
    return tag("div", tag("label", label, for_=name), control, classes="field")


# -- magic numbers


def numbers(page: PageModel) -> PageView:
    """Return what the last four digits of a number stand for."""
    rows = [html_row((f"…{digits}", "digits"), magic.label) for digits, magic in MAGIC.items()]
    off = tag("p", "They are switched off in this simulator: magic=False.", classes="note")
    body = joined(
        None if page.options.magic else off,
        tag("p", "The last four digits of a number can choose what happens to a call."),
        html_table("Magic numbers", ["Number", "What happens"], rows),
    )
    return PageView(title="Magic numbers", place="numbers", body=body)
