"""Page lists: calls, requests and messages, newest first, searched and paged on the server."""

from __future__ import annotations

from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import quote, urlencode

from telecmi_async._internal.html import joined, tag
from telecmi_async.simulator.fault import Breach
from telecmi_async.simulator.page.elements import chip, html_row, html_table
from telecmi_async.simulator.page.flow import flow_steps, flow_strip
from telecmi_async.simulator.page.labels import delivery_id, elapsed, named, span
from telecmi_async.simulator.page.layout import PageView

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from telecmi_async._internal.html import Child, Html
    from telecmi_async.simulator.call import SimulatedCall
    from telecmi_async.simulator.page.layout import PageModel
    from telecmi_async.simulator.request_log import SimulatedRequest
    from telecmi_async.simulator.webhooks import Delivery

_T = TypeVar("_T")

_PER_PAGE: Final = 50
# A search looks at so many items: the page is loaded again each second.
_MOST_SEARCHED: Final = 10_000
_LONGEST_SEARCH: Final = 64
_MOST_TERMS: Final = 4
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
_BREACHES: Final[Mapping[Breach, str]] = {
    Breach.RESET: "connection reset",
    Breach.CLOSE: "closed before the reply",
    Breach.CUT: "the reply broke off",
    Breach.DRIP: "one byte a second",
}
# A reply that takes longer is worth a word.
_LATE: Final = 60.0


# -- search and pages


def _terms(fields: Mapping[str, str]) -> list[str]:
    """Return what is searched for; a number may have a plus sign and blanks or dashes."""
    text = fields.get("q", "")[:_LONGEST_SEARCH].lower()
    digits = text.strip().lstrip("+").replace("-", "").replace(" ", "")
    return [digits] if digits.isdecimal() else text.split()[:_MOST_TERMS]


def _fits(terms: Sequence[str], words: Iterable[object]) -> bool:
    """Return whether each term begins one of the words, or ends a number."""
    known = [str(word).lower() for word in words]
    return all(
        any(
            word.startswith(term) or (term.isdecimal() and word.endswith(term))
            for word in known
        )
        for term in terms
    )


def _list_view(
    title: str,
    place: str,
    fields: Mapping[str, str],
    newest: Iterable[_T],
    total: int,
    words: Callable[[_T], Iterable[object]],
    table: Callable[[Sequence[_T], str], Html],
    above: Child = None,
) -> PageView:
    """Return one page of a list, with a search form and links to its other pages."""
    terms, empty, note = _terms(fields), "Nothing yet.", None
    if terms:
        empty = "Nothing fits."
        note = f"Searched: the newest {_MOST_SEARCHED:,}." if total > _MOST_SEARCHED else None
        found = [item for item in islice(newest, _MOST_SEARCHED) if _fits(terms, words(item))]
        newest, total = found, len(found)
    text = fields.get("page", "")
    wanted = int(text) if text.isdecimal() and len(text) < 10 else 1
    number = max(1, min(wanted, -(-total // _PER_PAGE)))
    first = (number - 1) * _PER_PAGE
    shown = list(islice(newest, first, first + _PER_PAGE))
    query = fields.get("q", "")[:_LONGEST_SEARCH]

    def link(label: str, page: int, rel: str) -> Html:
        sought = {"q": query, "page": page} if query else {"page": page}
        return tag("a", label, href=f"{place}?{urlencode(sought, errors='replace')}", rel=rel)

    search = tag(
        "form",
        tag("label", "Search", for_="q"),
        tag("input", id="q", name="q", type="search", value=query, maxlength=_LONGEST_SEARCH),
        tag("button", "Search"),
        tag("a", "Show all", href=place) if terms else None,
        tag("span", note, classes="more") if note else None,
        method="get",
        role="search",
        classes="search",
    )
    pages = tag(
        "nav",
        link("Newer", number - 1, "prev") if number > 1 else None,
        tag("span", f"{first + 1:,} to {first + len(shown):,} of {total:,}"),
        link("Older", number + 1, "next") if first + len(shown) < total else None,
        aria_label="Pages of the list",
        classes="pager",
    )
    body = joined(above, search, table(shown, empty), pages if total > _PER_PAGE else None)
    return PageView(title=title, place=place, body=body, typing=True)


# -- calls


def newest_calls(page: PageModel) -> tuple[Iterable[SimulatedCall], int]:
    """Return the calls that are alive or kept, newest first, and how many there are."""
    calls, live = page.world.calls, page.world.live
    # A call that lives long may be older than all that are kept.
    older = [call for call in live.values() if call.request_id not in calls]
    return chain(reversed(calls.values()), reversed(older)), len(calls) + len(older)


def calls(page: PageModel, fields: Mapping[str, str]) -> PageView:
    """Return all calls that are known."""
    newest, total = newest_calls(page)
    table = partial(call_table, page, "Calls")
    return _list_view("Calls", "calls", fields, newest, total, _call_words, table)


def _call_words(call: SimulatedCall) -> tuple[object, ...]:
    return call.to, call.from_, call.request_id, call.stage


def call_table(
    page: PageModel, caption: str, calls: Sequence[SimulatedCall], empty: str
) -> Html:
    """Return calls as a table."""
    rows = [
        html_row(
            call_link(page, call),
            stage_chip(call),
            (span(page.world.now - call.accepted), "number"),
            flow_strip(flow_steps(call)),
            mark=f"c-{call.request_id}",
        )
        for call in calls
    ]
    columns = ["To", "State", "Since", "Call flow"]
    return html_table(caption, columns, rows, empty=empty, classes="calls")


def call_link(page: PageModel, call: SimulatedCall) -> Html:
    """Return a call's number, which leads to its page."""
    address = f"call?id={quote(call.request_id)}"
    return tag("a", page.number(call.to), href=address, classes="digits")


def stage_chip(call: SimulatedCall) -> Html:
    """Return how far a call has come."""
    return chip(TONES.get(call.stage, ""), call.stage)


# -- requests


def requests(page: PageModel, fields: Mapping[str, str]) -> PageView:
    """Return the newest requests and what was answered, those that were refused included."""
    recent, table = page.log.recent, partial(request_table, page)
    newest, total = reversed(recent), len(recent)
    return _list_view("Requests", "requests", fields, newest, total, _request_words, table)


def _request_words(request: SimulatedRequest) -> tuple[object, ...]:
    placed = "placed" if request.request_id else "refused"
    return (request.to or "", request.status or "none", request.code or "", placed,
            request.request_id or "", request.path.rpartition("/")[2])  # fmt: skip


def request_table(page: PageModel, requests: Sequence[SimulatedRequest], empty: str) -> Html:
    """Return requests as a table."""
    rows = [
        html_row(
            (tag("a", f"#{request.number}", href=f"request?n={request.number}"), "number"),
            (elapsed(request.at), "number"),
            reply_chip(request),
            (request.code or "none", "number"),
            (request.attempt or "none", "number"),
            request_to(page, request),
            request_line(request),
            outcome(request),
            mark=f"r-{request.number}",
        )
        for request in requests
    ]
    columns = ["Request", "Time in calls", "Reply", "Code", "Attempt", "To", "Path", "Outcome"]
    return html_table("Requests", columns, rows, empty=empty, classes="requests")


def request_line(request: SimulatedRequest) -> str:
    """Return a request's method and the last part of its path."""
    if not request.method:
        return "not HTTP"
    path = named(request.path.rpartition("/")[2] or "/")
    return path if request.method == "POST" else f"{named(request.method)} {path}"


def reply_chip(request: SimulatedRequest) -> Html:
    """Return the HTTP status of a reply, or that there was none."""
    if request.status is None:
        return chip("bad", "none")
    accepted = request.status == 200 and request.code in {200, "cmi-200"}
    fine = accepted and request.breach is None and request.delay < _LATE
    return chip("good" if fine else "bad", str(request.status))


def request_to(page: PageModel, request: SimulatedRequest) -> Child:
    """Return the number of a request, which leads to the call that was placed."""
    call = page.world.find(request.request_id) if request.request_id else None
    if call is not None:
        return call_link(page, call)
    known = page.number(request.to) if request.to else "unknown"
    return tag("span", known, classes="digits")


def outcome(request: SimulatedRequest) -> str:
    """Return what became of a request, in a few words."""
    said = ["call placed"] if request.request_id else []
    if request.attempt is not None and not said:
        said.append("no call placed")
    if request.breach is not None:
        said.append(_BREACHES[request.breach])
    if request.delay >= _LATE:
        said.append(f"reply after {span(request.delay)}")
    if request.message:
        said.append(request.message)
    elif request.request_id and request.status not in {None, 200}:
        said.append("the reply hides it")
    return ", ".join(said) or "answered"


# -- messages


def deliveries(page: PageModel, fields: Mapping[str, str]) -> PageView:
    """Return the newest messages of all calls."""
    target, sent = page.options.webhooks.to, page.world.deliveries
    if target is None and not page.world.receivers:
        where = "They go nowhere: this simulator has no target for webhooks."
    elif isinstance(target, str):
        where = "They go to a URL, which is not shown: it holds a token."
    else:
        where = "They go into a receiver of this program."
    title, newest, table = (
        "Messages to your program",
        reversed(sent),
        partial(message_table, page),
    )
    return _list_view(
        title, "deliveries", fields, newest, len(sent), _delivery_words, table, tag("p", where)
    )


def _delivery_words(delivery: Delivery) -> tuple[object, ...]:
    call = delivery.call
    return (call.to, call.request_id, delivery.what, delivery.leg, delivery.status or "none",
            delivery.failure)  # fmt: skip


def message_table(page: PageModel, messages: Iterable[Delivery], empty: str) -> Html:
    """Return messages as a table."""
    columns = ["Message", "Leg", "Call", "Attempt", "Answer", "Next", ""]
    rows = [_message(page, delivery) for delivery in messages]
    return html_table("Messages", columns, rows, empty=empty, classes="messages")


def _message(page: PageModel, delivery: Delivery) -> Html:
    this, what = delivery_id(delivery), delivery.what.replace("_", " ")
    label = f"Send {what} of leg {delivery.leg} again"
    return html_row(
        what,
        delivery.leg,
        call_link(page, delivery.call),
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
    if delivery.failure:
        return chip("bad", delivery.failure)
    if delivery.arrived or delivery.ask:
        return chip("busy", "no answer yet")
    return chip("bad", "lost") if delivery.tries else chip("", "not sent yet")


def _next(page: PageModel, delivery: Delivery) -> str:
    done = page.options.webhooks.redeliver == "until_2xx" and delivery.taken
    if delivery.next_at is None or done:
        return "no more"
    return f"in {span(delivery.next_at - page.world.now)}"
