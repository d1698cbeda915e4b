"""Page views of requests: their list; and one, with its body and its reply, but no secret."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Final, cast

from telecmi_async._internal.html import joined, tag
from telecmi_async._internal.messages import mask_in
from telecmi_async.simulator.fault import Breach
from telecmi_async.simulator.page.call_views import call_link
from telecmi_async.simulator.page.elements import (
    chip,
    elapsed,
    fact_list,
    html_row,
    html_table,
    named,
    printable,
    section,
    span,
)
from telecmi_async.simulator.page.layout import PageView
from telecmi_async.simulator.page.search import list_view
from telecmi_async.simulator.webhooks import host_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from telecmi_async._internal.html import Child, Html
    from telecmi_async.simulator.page.layout import PageModel
    from telecmi_async.simulator.request_log import SimulatedRequest

_BREACHES: Final[Mapping[Breach, str]] = {
    Breach.RESET: "connection reset",
    Breach.CLOSE: "closed before the reply",
    Breach.CUT: "the reply broke off",
    Breach.DRIP: "one byte a second",
}
# A reply that takes longer is worth a word.
_LATE: Final = 60.0
# Letters of a body that are shown.
_LONGEST: Final = 20_000
# Texts that say what an action is. Others are the user's own, and shown with `reveal` only.
_PLAIN: Final = frozenset({"action", "code", "cmi_code", "file_name", "msg", "request_id",
                           "ring_type", "status", "type"})  # fmt: skip
_SECRETS: Final = ("secret", "token", "password")
_HIDDEN: Final = "(hidden)"


# -- lists of requests


def requests(page: PageModel, fields: Mapping[str, str]) -> PageView:
    """Return the newest requests and what was answered, those that were refused included."""
    recent, table = page.log.recent, partial(request_table, page)
    newest, total = reversed(recent), len(recent)
    return list_view("Requests", "requests", fields, newest, total, _request_words, table)


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
            _reply_chip(request),
            (request.code or "none", "number"),
            (request.attempt or "none", "number"),
            _request_to(page, request),
            _request_line(request),
            _outcome(request),
            mark=f"r-{request.number}",
        )
        for request in requests
    ]
    columns = ["Request", "Time in calls", "Reply", "Code", "Attempt", "To", "Path", "Outcome"]
    return html_table("Requests", columns, rows, empty=empty, classes="requests")


def _request_line(request: SimulatedRequest) -> str:
    """Return a request's method and the last part of its path."""
    if not request.method:
        return "not HTTP"
    path = named(request.path.rpartition("/")[2] or "/")
    return path if request.method == "POST" else f"{named(request.method)} {path}"


def _reply_chip(request: SimulatedRequest) -> Html:
    """Return the HTTP status of a reply, or that there was none."""
    if request.status is None:
        return chip("bad", "none")
    accepted = request.status == 200 and request.code in {200, "cmi-200"}
    fine = accepted and request.breach is None and request.delay < _LATE
    return chip("good" if fine else "bad", str(request.status))


def _request_to(page: PageModel, request: SimulatedRequest) -> Child:
    """Return the number of a request, which leads to the call that was placed."""
    call = page.world.find(request.request_id) if request.request_id else None
    if call is not None:
        return call_link(page, call)
    known = page.number(request.to) if request.to else "unknown"
    return tag("span", known, classes="digits")


def _outcome(request: SimulatedRequest) -> str:
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


# -- one request


def request_view(page: PageModel, fields: Mapping[str, str]) -> PageView:
    """Return all that is known of a request, or that it is unknown."""
    wanted = fields.get("n", "")
    request = next((one for one in page.log.recent if str(one.number) == wanted), None)
    if request is None:
        gone = tag("p", "It is no longer among the newest requests, or there never was one.")
        return PageView(title="No such request", place="", status=404, body=gone)
    body = joined(
        fact_list(_facts(page, request)),
        section("Body", tag("p", _note(page)), _body(page, request)),
        section("Reply", _reply(page, request)),
    )
    return PageView(title=f"Request #{request.number}", place="", body=body)


def _note(page: PageModel) -> str:
    if page.options.reveal:
        return "The secret and the paths of addresses are not shown."
    return (
        "Phone numbers are masked, and texts are hidden. "
        "The command telecmi-async simulate --reveal shows them."
    )


def _facts(page: PageModel, request: SimulatedRequest) -> list[tuple[str, Child]]:
    return [
        ("Outcome", _outcome(request)),
        ("Reply", _reply_chip(request)),
        ("TeleCMI code", request.code or "none"),
        ("To", _request_to(page, request)),
        ("Attempt for this number", request.attempt or "none"),
        ("Time in calls", elapsed(request.at)),
        ("Request", _request_line(request)),
        ("Content type", named(request.content_type) or "none"),
        ("Size", f"{request.size:,} bytes"),
        ("Reply after", span(request.delay) if request.delay >= 1 else f"{request.delay:g} s"),
    ]


def _body(page: PageModel, request: SimulatedRequest) -> Html:
    kind = request.content_type.partition(";")[0].strip().lower()
    if not request.size:
        problem = "It has no body."
    elif kind != "application/json":
        problem = "It is not announced as application/json, so TeleCMI takes it for empty."
    elif request.size > len(request.body):
        problem = f"It is too long to be shown: {request.size:,} bytes."
    else:
        try:
            decoded: object = json.loads(request.body)
            return _json(decoded, page)
        except json.JSONDecodeError as error:
            where = f"line {error.lineno}, column {error.colno}"
            problem = f"It is not JSON. {error.msg}: {where}."
        except (ValueError, RecursionError):
            problem = "It is not JSON, or too deep."
    # Its text is not shown: a secret could not be found in it.
    return tag("p", problem, classes="empty")


def _reply(page: PageModel, request: SimulatedRequest) -> Html:
    if request.status is None:
        return tag("p", "None: the connection was broken before.", classes="empty")
    if request.answer.body.startswith(b"{"):
        return _json(json.loads(request.answer.body), page)
    return _pre(request.answer.body.decode("utf-8", "replace"))


def _json(value: object, page: PageModel) -> Html:
    shown = _shown("", value, reveal=page.options.reveal)
    text = json.dumps(shown, indent=2, ensure_ascii=False)
    # Wherever it stands, also as a key, or in JSON inside a text.
    secret = page.options.secret
    for _ in range(3):
        text = text.replace(secret, _HIDDEN)
        secret = json.dumps(secret, ensure_ascii=False)[1:-1]
    return _pre(text)


def _pre(text: str) -> Html:
    cut = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
    # A block that scrolls must be reachable by keyboard, too.
    return tag("pre", printable(cut), tabindex=0)


def _shown(name: str, value: object, *, reveal: bool) -> object:
    """Return a JSON value as the page shows it; ``name`` is the key that it stands under."""
    if any(word in name.lower() for word in _SECRETS):
        return _HIDDEN
    match value:
        case dict():
            hides = name == "extra_params" and not reveal
            return {
                key if reveal else mask_in(key): _HIDDEN
                if hides
                else _shown(key, each, reveal=reveal)
                for key, each in cast("dict[str, object]", value).items()
            }
        case list():
            items = cast("list[object]", value)
            return [_shown(name, each, reveal=reveal) for each in items]
        case str():
            return _text(name, value, reveal=reveal)
        case int() if not reveal and name != "appid":
            masked = mask_in(str(value))
            return value if masked == str(value) else masked
        case _:
            return value


def _text(name: str, text: str, *, reveal: bool) -> str:
    if "://" in text:  # an address may hold a token
        return f"{text.partition('://')[0]}://{host_of(text) if reveal else ''}…"
    if reveal:
        return text
    return mask_in(text) if name in _PLAIN else f"({len(text)} letters)"
