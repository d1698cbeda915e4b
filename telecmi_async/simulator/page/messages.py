"""What was sent to the user's program, and what is to be sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from telecmi_async._internal.messages import mask
from telecmi_async.simulator.page.frame import PageView, chip, html_table
from telecmi_async.simulator.page.markup import joined, tag
from telecmi_async.simulator.page.words import mark, span

if TYPE_CHECKING:
    from collections.abc import Sequence

    from telecmi_async.simulator.page.frame import Forms
    from telecmi_async.simulator.page.markup import Html
    from telecmi_async.simulator.protocols import PageModel
    from telecmi_async.simulator.webhooks import Delivery

__all__ = ["deliveries", "messages"]

_MOST: Final = 100


def deliveries(simulator: PageModel, forms: Forms) -> PageView:
    """Return the newest messages of all calls."""
    target = simulator.webhooks.to
    if target is None:
        where = "They go nowhere: this simulator was not told where to send them."
    elif isinstance(target, str):
        where = "They go to a URL, which is not shown: it holds a token."
    else:
        where = "They go into a receiver of this program's own."
    return PageView(
        title="Messages to your program",
        place="deliveries",
        body=joined([tag("p", where), messages(simulator, forms, simulator.deliveries)]),
    )


def messages(simulator: PageModel, forms: Forms, about: Sequence[Delivery]) -> Html:
    """Return messages as a table, the newest first."""
    newest = about[: -_MOST - 1 : -1]
    columns = ["Message", "Leg", "Call", "Attempt", "Answer", "Next", ""]
    rows = [_row(simulator, forms, delivery) for delivery in newest]
    more = len(about) - len(newest)
    return joined(
        [
            html_table("Messages", columns, rows, empty="No message yet.", classes="messages"),
            tag("p", f"and {more:,} older ones", classes="more") if more else None,
        ]
    )


def _row(simulator: PageModel, forms: Forms, delivery: Delivery) -> Html:
    call, this = delivery.call, mark(delivery)
    what = delivery.what.replace("_", " ")
    attempt = "asked" if delivery.ask else f"{delivery.tries} of {delivery.most_tries}"
    again = forms.button(
        "send_again", "Send again", label=f"Send {what} of leg {delivery.leg} again",
        delivery=this,
    )  # fmt: skip
    link = tag("a", mask(call.to), href=f"call?id={quote(call.request_id)}", classes="digits")
    return tag(
        "tr",
        tag("td", what),
        tag("td", delivery.leg),
        tag("td", link),
        tag("td", attempt, classes="number"),
        tag("td", _answer(delivery)),
        tag("td", _next(simulator, delivery), classes="number"),
        tag("td", again),
        id=f"d-{this}",
    )


def _answer(delivery: Delivery) -> Html:
    status = delivery.status
    if status is not None:
        return chip("good", f"{status} taken") if _taken(status) else chip("bad", f"{status}")
    if delivery.arrived or delivery.ask:
        return chip("busy", "no answer yet")
    return chip("bad", "lost") if delivery.tries else chip("", "not sent yet")


def _taken(status: int | None) -> bool:
    return status is not None and 200 <= status < 300


def _next(simulator: PageModel, delivery: Delivery) -> str:
    if delivery.next_at is None:
        return "no more"
    if simulator.webhooks.redeliver == "until_2xx" and _taken(delivery.status):
        return "no more"
    return f"in {span(delivery.next_at - simulator.now)}"
