"""Who is shown the page, and what is where.

It shows what a program does, and can be pressed, so a page of another site must neither read
nor press it. Only this machine's own names are answered: a name of somebody's that resolves to
127.0.0.1 is none of them (DNS rebinding). A form must carry the token that only this page
holds. What a browser may load is said by the strictest policy under which the page works.
"""

from __future__ import annotations

import hmac
import re
import secrets
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, quote
from weakref import WeakKeyDictionary

from telecmi_async.simulator.page.assets import ASSETS
from telecmi_async.simulator.page.deeds import DEEDS, ActionRefused
from telecmi_async.simulator.page.frame import Forms, PageView, document
from telecmi_async.simulator.page.messages import deliveries
from telecmi_async.simulator.page.rules import faults
from telecmi_async.simulator.page.views import call_view, gone, numbers, overview
from telecmi_async.simulator.replies import simulated_reply

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from telecmi_async.http_server import HttpResponse
    from telecmi_async.simulator.protocols import PageModel

__all__ = ["answer_page"]

_THIS_MACHINE: Final = re.compile(
    r"(?:localhost|127\.0\.0\.1|\[::1\])(?::[0-9]{1,5})?", re.ASCII | re.IGNORECASE
)
_POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_HEADERS: Final = (
    ("Content-Security-Policy", _POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    # Another site learns as little as with no-referrer, with which browsers would say
    # "Origin: null" of this page's own forms.
    ("Referrer-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)
_NEVER_STORED: Final = ("Cache-Control", "no-store")
# Its address changes with what is in it.
_STORED: Final = ("Cache-Control", "public, max-age=31536000, immutable")
_HTML: Final = "text/html; charset=utf-8"
_FORM: Final = "application/x-www-form-urlencoded"
_MOST_FIELDS: Final = 16
_CALL: Final = "/call"

_VIEWS: Final[Mapping[str, Callable[[PageModel, Forms], PageView]]] = {
    "/": overview,
    "/deliveries": deliveries,
    "/faults": faults,
    "/numbers": numbers,
}
_PATHS: Final = frozenset({*_VIEWS, *ASSETS, _CALL})
_TOKENS: Final[WeakKeyDictionary[PageModel, str]] = WeakKeyDictionary()


def answer_page(
    simulator: PageModel, method: str, target: str, headers: Mapping[str, str], body: bytes
) -> HttpResponse | None:
    """Return a page, or ``None`` if the request is for none.

    Args:
        simulator: What the page is about.
        method: The HTTP method.
        target: The path asked for, with its query.
        headers: The headers, by lower-case name.
        body: The body.
    """
    if target.startswith("/v"):  # all calls do, and they must not pay for this
        return None
    path, _, query = target.partition("?")
    if path not in _PATHS or not _THIS_MACHINE.fullmatch(headers.get("host", "")):
        return None
    if path in ASSETS:
        return _asset(path, method, headers)
    match method:
        case "GET" | "HEAD":
            return _show(simulator, path, query)
        case "POST":
            return _do(simulator, path, query, headers, body)
        case _:
            return _not_allowed("GET, HEAD, POST")


def _asset(path: str, method: str, headers: Mapping[str, str]) -> HttpResponse:
    if method not in {"GET", "HEAD"}:
        return _not_allowed("GET, HEAD")
    asset = ASSETS[path]
    known = headers.get("if-none-match") == asset.tag
    return simulated_reply(
        304 if known else 200,
        b"" if known else asset.body,
        *_HEADERS,
        _STORED,
        ("ETag", asset.tag),
        content_type=asset.kind,
    )


def _not_allowed(allowed: str) -> HttpResponse:
    return _page(405, b"", ("Allow", allowed))


def _page(status: int, body: bytes, *extra: tuple[str, str]) -> HttpResponse:
    return simulated_reply(status, body, *_HEADERS, _NEVER_STORED, *extra, content_type=_HTML)


def _show(
    simulator: PageModel, path: str, query: str, refusal: ActionRefused | None = None
) -> HttpResponse:
    forms = Forms(_token(simulator))
    if path == _CALL:
        try:
            call = simulator.call(_fields(query).get("id", ""))
        except LookupError:
            view = gone()
        else:
            view = call_view(simulator, forms, call)
    else:
        view = _VIEWS[path](simulator, forms)
    page = document(simulator, view, refusal.why if refusal else None)
    status = refusal.status if refusal else view.status
    return _page(status, page)


def _do(
    simulator: PageModel, path: str, query: str, headers: Mapping[str, str], body: bytes
) -> HttpResponse:
    """Do what a form says, and lead back to the page on which it stands."""
    plain = headers.get("content-type", "").partition(";")[0].strip().lower() == _FORM
    fields = _fields(body.decode("utf-8", "replace")) if plain else {}
    try:
        _check(simulator, headers, fields)
        seen = DEEDS[fields["do"]](simulator, fields)
    except ActionRefused as refusal:
        return _show(simulator, path, query, refusal)
    here = path.removeprefix("/") or "./"
    if path == _CALL:
        here = f"call?id={quote(_fields(query).get('id', ''), safe='')}"
    # Relative, so that it holds wherever the simulator is mounted.
    place = f"{here}#{seen}" if seen else here
    return _page(303, b"", ("Location", place))


def _check(simulator: PageModel, headers: Mapping[str, str], fields: Mapping[str, str]) -> None:
    """Refuse a form that is not this page's own."""
    host, token = headers["host"].lower(), fields.get("token", "")
    origin = headers.get("origin")
    ours = origin is None or origin.lower() in {f"http://{host}", f"https://{host}"}
    near = headers.get("sec-fetch-site", "same-origin") == "same-origin"
    known = hmac.compare_digest(token.encode("utf-8", "replace"), _token(simulator).encode())
    if not (ours and near and known):
        why = "Nothing was done: the form was older than the simulator. Try it again."
        raise ActionRefused(403, why)
    if fields.get("do") not in DEEDS:
        raise ActionRefused(422, "Nothing was done: there is no such button.")


def _token(simulator: PageModel) -> str:
    return _TOKENS.setdefault(simulator, secrets.token_urlsafe(32))


def _fields(text: str) -> dict[str, str]:
    """Return the fields of a query or a form; of one that comes twice, the last."""
    try:
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST_FIELDS))
    except ValueError:  # too many
        return {}
