"""Page view of one request: its facts, its body and its reply, without the secret."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, cast

from telecmi_async._internal.html import joined, tag
from telecmi_async._internal.messages import mask_in
from telecmi_async.simulator.page.elements import fact_list, section
from telecmi_async.simulator.page.labels import elapsed, named, printable, span
from telecmi_async.simulator.page.layout import PageView
from telecmi_async.simulator.page.lists import outcome, reply_chip, request_line, request_to
from telecmi_async.simulator.webhooks import host_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from telecmi_async._internal.html import Child, Html
    from telecmi_async.simulator.page.layout import PageModel
    from telecmi_async.simulator.request_log import SimulatedRequest

# Letters of a body that are shown.
_LONGEST: Final = 20_000
# Texts that say what an action is. Others are the user's own, and shown with `reveal` only.
_PLAIN: Final = frozenset({"action", "code", "cmi_code", "file_name", "msg", "request_id",
                           "ring_type", "status", "type"})  # fmt: skip
_SECRETS: Final = ("secret", "token", "password")
_HIDDEN: Final = "(hidden)"


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
        ("Outcome", outcome(request)),
        ("Reply", reply_chip(request)),
        ("TeleCMI code", request.code or "none"),
        ("To", request_to(page, request)),
        ("Attempt for this number", request.attempt or "none"),
        ("Time in calls", elapsed(request.at)),
        ("Request", request_line(request)),
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
            return _json(decoded, reveal=page.options.reveal)
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
        return _json(json.loads(request.answer.body), reveal=page.options.reveal)
    return _pre(request.answer.body.decode("utf-8", "replace"))


def _json(value: object, *, reveal: bool) -> Html:
    shown = _shown("", value, reveal=reveal)
    return _pre(json.dumps(shown, indent=2, ensure_ascii=False))


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
