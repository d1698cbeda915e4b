"""Page routing and access: which request gets which view, and whose requests are refused.

The page shows what a program does and changes it, so a page of another site must neither read
it nor send its forms. Only this machine's own host names are answered: a foreign name that
resolves to 127.0.0.1 is not one (DNS rebinding). A form must carry the token that only this
page holds. The content security policy is the strictest under which the page works.
"""

from __future__ import annotations

import hmac
import re
import secrets
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, urlencode

from telecmi_async.simulator.page.actions import PAGE_ACTIONS, ActionRefused
from telecmi_async.simulator.page.call_views import call_view, calls, deliveries
from telecmi_async.simulator.page.layout import ASSETS, PageModel, document
from telecmi_async.simulator.page.request_views import request_view, requests
from telecmi_async.simulator.page.talk_audio import TALK_PATH, kept_talk, wav_part
from telecmi_async.simulator.page.views import faults, numbers, overview
from telecmi_async.simulator.replies import simulated_reply

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from telecmi_async.http_server import HttpResponse
    from telecmi_async.simulator.options import SimulatorOptions
    from telecmi_async.simulator.page.layout import Asset, PageView
    from telecmi_async.simulator.request_log import RequestLog
    from telecmi_async.simulator.world import World

_THIS_MACHINE: Final = re.compile(
    r"(?:localhost|127\.0\.0\.1|\[::1\])(?::[0-9]{1,5})?", re.ASCII | re.IGNORECASE
)
_POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "img-src 'self'; media-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
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
# Fields of an address that say what a page shows.
_SHOWN: Final[tuple[str, ...]] = ("id", "n", "q", "page")

_VIEWS: Final[Mapping[str, Callable[[PageModel, Mapping[str, str]], PageView]]] = {
    "/": overview,
    "/call": call_view,
    "/calls": calls,
    "/deliveries": deliveries,
    "/faults": faults,
    "/numbers": numbers,
    "/request": request_view,
    "/requests": requests,
}
_FILES: Final = frozenset({*ASSETS, TALK_PATH})
_PATHS: Final = _FILES.union(_VIEWS)


class Page:
    """Answers the requests for one simulator's page."""

    def __init__(self, options: SimulatorOptions, log: RequestLog, world: World) -> None:
        self._model = PageModel(options, log, world, secrets.token_urlsafe(32))

    def answer(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> HttpResponse | None:
        """Return a page, or ``None`` if the request is not for one.

        The target is the path with its query; header names are in lower case.
        """
        if target.startswith("/v"):  # all calls do, and they must not pay for this
            return None
        path, _, query = target.partition("?")
        if path not in _PATHS or not _THIS_MACHINE.fullmatch(headers.get("host", "")):
            return None
        if path in _FILES:
            return self._file(path, query, method, headers)
        match method:
            case "GET" | "HEAD":
                return self._show(path, query)
            case "POST":
                return self._act(path, query, headers, body)
            case _:
                return _page(405, b"", ("Allow", "GET, HEAD, POST"))

    def _file(
        self, path: str, query: str, method: str, headers: Mapping[str, str]
    ) -> HttpResponse:
        if method not in {"GET", "HEAD"}:
            return _page(405, b"", ("Allow", "GET, HEAD"))
        if path in ASSETS:
            return _asset(ASSETS[path], headers)
        talk = kept_talk(self._model, _fields(query).get("id", ""))
        if talk is None:
            return _page(404, b"")
        status, body, extra = wav_part(talk.wav(), headers.get("range", ""))
        kept = (*_HEADERS, _NEVER_STORED, *extra)
        return simulated_reply(status, body, *kept, content_type="audio/wav")

    def _show(
        self, path: str, query: str, refusal: ActionRefused | None = None
    ) -> HttpResponse:
        view = _VIEWS[path](self._model, _fields(query))
        page = document(self._model, view, refusal.why if refusal else None)
        return _page(refusal.status if refusal else view.status, page)

    def _act(
        self, path: str, query: str, headers: Mapping[str, str], body: bytes
    ) -> HttpResponse:
        """Carry out a form's action, and lead back to the page on which it stands."""
        plain = headers.get("content-type", "").partition(";")[0].strip().lower() == _FORM
        fields = _fields(body.decode("utf-8", "replace")) if plain else {}
        try:
            self._check(headers, fields)
            seen = PAGE_ACTIONS[fields["do"]](self._model, fields)
        except ActionRefused as refusal:
            return self._show(path, query, refusal)
        here = path.removeprefix("/") or "./"
        given = _fields(query)
        if kept := {name: given[name] for name in _SHOWN if name in given}:
            here += "?" + urlencode(kept, errors="replace")
        # Relative, so that it holds wherever the simulator is mounted.
        return _page(303, b"", ("Location", f"{here}#{seen}" if seen else here))

    def _check(self, headers: Mapping[str, str], fields: Mapping[str, str]) -> None:
        """Refuse a form that is not this page's own."""
        host, token = headers["host"].lower(), fields.get("token", "")
        origin = headers.get("origin")
        ours = origin is None or origin.lower() in {f"http://{host}", f"https://{host}"}
        near = headers.get("sec-fetch-site", "same-origin") == "same-origin"
        known = hmac.compare_digest(
            token.encode("utf-8", "replace"), self._model.token.encode()
        )
        if not (ours and near and known):
            why = "Nothing was done: the form was older than the simulator. Try it again."
            raise ActionRefused(403, why)
        if fields.get("do") not in PAGE_ACTIONS:
            raise ActionRefused(422, "Nothing was done: there is no such button.")


def _asset(asset: Asset, headers: Mapping[str, str]) -> HttpResponse:
    known = headers.get("if-none-match") == asset.tag
    extra = (*_HEADERS, _STORED, ("ETag", asset.tag))
    status, body = (304, b"") if known else (200, asset.body)
    return simulated_reply(status, body, *extra, content_type=asset.kind)


def _page(status: int, body: bytes, *extra: tuple[str, str]) -> HttpResponse:
    return simulated_reply(status, body, *_HEADERS, _NEVER_STORED, *extra, content_type=_HTML)


def _fields(text: str) -> dict[str, str]:
    """Return the fields of a query or a form; of one that comes twice, the last."""
    try:
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST_FIELDS))
    except ValueError:  # too many
        return {}
