"""The simulator's page: who sees it, what it shows and hides, and what can be done on it."""

from __future__ import annotations

import json
from functools import cache, partial
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlencode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from page_visitor import HOST, Seen, ask, see
from simulated import FROM, GLOBAL, HANGUP, TO, pass_time, place, post

from telecmi_async._internal.html import tag
from telecmi_async.events.receiver import Receiver
from telecmi_async.http_server import ConnectionLimits, HttpConnection, HttpResponse
from telecmi_async.simulator import Callee, Fault, FaultKind, Simulator, Webhooks
from telecmi_async.simulator.fronts import answer_on_port
from telecmi_async.simulator.page import elements
from telecmi_async.simulator.replies import refused

if TYPE_CHECKING:
    from collections.abc import Mapping

VIEWS = ["/", "/calls", "/requests", "/deliveries", "/faults", "/numbers"]
PLAY = {"action": "play", "file_name": "welcome.wav"}
ASK = {"action": "play_get_input", "file_name": "menu.wav", "max_digit": 4}
BRIDGE = {"action": "bridge", "connect": [{"type": "pstn", "number": 19170000002}]}
HOOK = "http://127.0.0.1:9/hook-token"


def token_of(simulator: Simulator) -> str:
    """Return the token that the page's forms carry."""
    found = [
        attrs["value"] or ""
        for tag, attrs in see(simulator, "/faults").elements
        if tag == "input" and attrs["name"] == "token"
    ]
    return found[0]


def press(
    simulator: Simulator,
    target: str,
    do: str,
    headers: Mapping[str, str] | None = None,
    /,
    **fields: object,
) -> HttpResponse:
    """Press a button."""
    sent = {"token": token_of(simulator), "do": do, **fields}
    kind = {"content-type": "application/x-www-form-urlencoded", **(headers or {})}
    return ask(simulator, "POST", target, kind, urlencode(sent).encode())


def place_of(answer: HttpResponse) -> str:
    """Return where a reply redirects to."""
    assert answer.status == 303
    return dict(answer.headers)["Location"]


# --- who sees it ------------------------------------------------------------------------


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("host", [HOST, "localhost", "LOCALHOST:1", "[::1]:65535", "127.0.0.1"])
def test_this_machine_sees_every_view(view: str, host: str) -> None:
    """Every local host name gets the page, which is not cached."""
    answer = ask(Simulator(), "GET", f"{view}?x", {"host": host})

    headers = dict(answer.headers)
    assert answer.status == 200
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "host",
    [
        "",
        "rest.telecmi.com",
        "192.168.1.7:8787",
        "0.0.0.0:8787",
        "localhost.attacker.example",
        "127.0.0.1.attacker.example:8787",
        "attacker.example#127.0.0.1",
        "user@127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:8787\n",
        "127.0.0.2",
        "loca\u017fhost",
        "[::1",
    ],
)
@pytest.mark.parametrize("target", ["/", "/faults", "/style.css"])
def test_no_other_name_is_answered(host: str, target: str) -> None:
    """Any other host name gets the same 404 as an unknown path."""
    simulator = Simulator()
    answer = ask(simulator, "GET", target, {"host": host})

    assert answer.status == 404
    assert json.loads(answer.body)["msg"] == "not found"
    assert simulator.requests == 1


def test_a_request_without_a_host_is_not_answered() -> None:
    """A request without a Host header, as in HTTP/1.0, is left to others."""
    assert Simulator()._page.answer("GET", "/", {}, b"") is None


@pytest.mark.parametrize(
    "target",
    ["/v2/global_pcmo_make_call", "/v1/call/action", "//", "/callx", "http://127.0.0.1/", "*"],
)
def test_other_paths_are_none_of_its_business(target: str) -> None:
    """Paths of the API, and unknown paths, are left to others."""
    assert Simulator()._page.answer("POST", target, {"host": HOST}, b"") is None


def test_who_only_looks_is_not_counted() -> None:
    """Page views do not count as requests to TeleCMI."""
    simulator = Simulator()
    for target in [*VIEWS, "/call?id=x", "/request?n=1", "/style.css"]:
        ask(simulator, "GET", target)

    assert simulator.requests == 0


@pytest.mark.parametrize(
    "target", [*VIEWS, "/call?id=x", "/request?n=1", "/style.css", "/script.js"]
)
def test_browsers_are_told_to_trust_nothing_else(target: str) -> None:
    """Every reply allows only the page's own scripts, styles and forms, and no frames."""
    headers = dict(ask(Simulator(), "GET", target).headers)

    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    assert policy == {
        "default-src": "'none'",
        "style-src": "'self'",
        "script-src": "'self'",
        "connect-src": "'self'",
        "img-src": "'self'",
        "media-src": "'self'",
        "form-action": "'self'",
        "frame-ancestors": "'none'",
        "base-uri": "'none'",
    }
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"


@pytest.mark.parametrize("view", VIEWS)
def test_nothing_stands_inline(view: str) -> None:
    """The page has no inline style, script or handler, which its policy would block."""
    simulator = Simulator(webhooks=HOOK)
    place(simulator)
    seen = see(simulator, view)

    assert "style" not in {tag for tag, _ in seen.elements}
    assert not [name for _, attrs in seen.elements for name in attrs if name[:2] == "on"]
    assert not [1 for _, attrs in seen.elements if "style" in attrs]
    assert len(seen.values("script", "src")) == 1


@pytest.mark.parametrize("target", ["/", "/call?id=x", "/style.css"])
def test_other_methods_are_refused(target: str) -> None:
    """An unsupported method gets 405 and the allowed ones."""
    answer = ask(Simulator(), "DELETE", target)

    assert answer.status == 405
    assert dict(answer.headers)["Allow"].startswith("GET, HEAD")


def test_assets_are_kept_for_ever_by_an_address_of_their_own() -> None:
    """Style, script and picture are immutable, and have an ETag."""
    simulator = Simulator()
    seen = see(simulator)
    addresses = [*seen.values("link", "href"), *seen.values("script", "src")]
    answers = [ask(simulator, "GET", f"/{address}") for address in addresses]

    assert sorted(dict(answer.headers)["Content-Type"] for answer in answers) == [
        "image/svg+xml; charset=utf-8",
        "text/css; charset=utf-8",
        "text/javascript; charset=utf-8",
    ]
    for answer, address in zip(answers, addresses, strict=True):
        headers = dict(answer.headers)
        assert answer.status == 200
        assert answer.body
        assert "immutable" in headers["Cache-Control"]
        assert headers["ETag"].strip('"') in (address or "")
        again = ask(simulator, "GET", f"/{address}", {"if-none-match": headers["ETag"]})
        assert (again.status, again.body) == (304, b"")


# --- what it shows ----------------------------------------------------------------------


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_says_that_no_phone_rings(view: str) -> None:
    """Every view has the banner, the navigation and the time."""
    simulator = Simulator(speed=60)
    simulator.advance(3_725)
    seen = see(simulator, view)

    assert "Simulator: no phone rings." in seen.text
    assert seen.values("html", "lang") == ["en"]
    assert [tag for tag, _ in seen.elements].count("h1") == 1
    assert [attrs.get("href") for tag, attrs in seen.elements if "aria-current" in attrs] == [
        view.removeprefix("/") or "./"
    ]
    assert "1:02:05, 60 times as fast as real time" in seen.text


@pytest.mark.parametrize("view", VIEWS)
def test_every_element_is_one_of_html(view: str) -> None:
    """All elements are standard HTML."""
    simulator = Simulator(webhooks=HOOK)
    place(simulator, PLAY)
    pass_time(simulator, 5.0)
    simulator.faults.add("reset")
    seen = {tag for tag, _ in see(simulator, view).elements}

    assert {"table", "tr", "td"} <= seen
    assert seen <= {
        "a", "body", "button", "caption", "code", "dd", "div", "dl", "dt", "footer", "form",
        "h1", "h2", "head", "header", "html", "input", "label", "li", "link", "main", "meta",
        "nav", "noscript", "ol", "option", "p", "pre", "script", "section", "select", "span", "strong",
        "table", "tbody", "td", "th", "thead", "title", "tr",
    }  # fmt: skip


def test_counts_are_shown() -> None:
    """Requests, numbers, repeats and pending messages are counted."""
    simulator = Simulator(webhooks=HOOK)
    place(simulator)
    place(simulator)
    place(simulator, to=TO + 1)
    pass_time(simulator, 0.9)
    seen = see(simulator)

    words = seen.words[seen.words.index("Calls now") :]
    counts = dict(zip(words[:12:2], words[1:12:2], strict=True))
    assert counts["Requests"] == "4"  # the one that only moved the clock counts, too
    assert counts["Numbers dialled"] == "2"
    assert counts["Dialled again"] == "1"
    assert counts["Busiest second"] == "4"
    assert counts["Messages to come"] == "0"
    assert ("div", {"class": "alert"}) in seen.elements


def test_calls_are_listed_newest_first_until_there_are_too_many() -> None:
    """Live calls and finished calls each have a table."""
    simulator = Simulator()
    over = [place(simulator, to=TO + 100 + n) for n in range(22)]
    pass_time(simulator, 1_000.0)
    live = [place(simulator, to=TO + n, at=1_000.0) for n in range(53)]
    seen = see(simulator)

    rows = [row for row in seen.values("tr", "id") if row]
    assert rows == [
        *[f"c-{call.request_id}" for call in live[:2:-1]],
        *[f"c-{call.request_id}" for call in over[:1:-1]],
        *[f"r-{n}" for n in range(76, 66, -1)],
    ]
    for left_out in (3, 2, 66):
        assert f"and {left_out} older: " in seen.words
    assert seen.values("a", "href")[-1] == "requests"


def test_a_call_shows_where_its_flow_is() -> None:
    """The current step stands out between the steps that are done and the next ones."""
    simulator = Simulator(life="manual")
    call = place(simulator, PLAY, ASK, BRIDGE, HANGUP)
    call.answer()
    seen = see(simulator)

    classes = [attrs.get("class") for tag, attrs in seen.elements if tag == "li"]
    assert classes == ["done", "now", "next", "next"]
    assert seen.values("li", "aria-current") == ["step"]
    assert "answered" in seen.words


def test_a_long_flow_is_shown_around_its_present_step() -> None:
    """Steps far from the current one are only counted."""
    simulator = Simulator(life="manual")
    call = place(simulator, *[PLAY] * 5, ASK, *[PLAY] * 5)
    call.answer()
    seen = see(simulator)

    assert "3 done" in seen.words
    assert "2 more" in seen.words
    assert [attrs.get("class") for tag, attrs in seen.elements if tag == "li"] == [
        "more", "done", "done", "now", "next", "next", "next", "more",
    ]  # fmt: skip


def test_a_flow_that_a_program_replaced_is_shown_as_it_went() -> None:
    """After a program's answer, the rest of the first flow is not shown."""
    asking = {**ASK, "action_url": "http://127.0.0.1:9/x"}
    simulator = Simulator(webhooks=HOOK, callees={TO: Callee(digits="1")}, ring=1)
    call = place(simulator, asking, PLAY, PLAY)
    pass_time(simulator, 7.0)
    (question,) = [one for one in simulator.deliveries if one.ask]
    simulator._world.delivered(question, 200, [BRIDGE, HANGUP])
    seen = see(simulator, f"/call?id={call.request_id}")

    cells = [attrs.get("class") for tag, attrs in seen.elements if tag == "tr"]
    assert [state for state in cells if state] == ["done", "now"]
    assert "2 actions" in seen.words
    assert "bridge" in seen.words
    assert "play" not in seen.words
    assert "asked" in seen.words


def test_a_call_has_a_page() -> None:
    """The page shows the call's facts, flow, timeline, legs and messages."""
    simulator = Simulator(webhooks=HOOK, callees={TO: Callee(ring=1, digits="9876")})
    speak = {"action": "speak", "text": "your code is 555"}
    call = place(
        simulator, speak, ASK, BRIDGE, HANGUP, extra_params={"order": "42-17"}, duration=90
    )
    pass_time(simulator, 500.0)
    seen = see(simulator, f"/call?id={call.request_id}")

    assert call.request_id in seen.words
    assert "completed" in seen.words
    assert "1 min 30 s" in seen.words
    assert "order" in seen.words
    assert "16 letters" in seen.words
    assert "menu.wav" in seen.words
    assert "4 pressed" in seen.words
    assert f"{call.talk_seconds} s" in seen.words
    assert {leg.cmiuuid for leg in call.legs} <= set(seen.words)
    assert "made" in seen.words
    assert "now" not in [attrs.get("class") for _, attrs in seen.elements], "all is done"
    assert seen.buttons() == ["send_again"] * len(simulator.deliveries)


def test_a_call_that_is_only_accepted_has_a_page() -> None:
    """With ``life=None`` the page shows no legs and no buttons."""
    simulator = Simulator(life=None)
    call = place(simulator, extra_params="a text of the user's")
    seen = see(simulator, f"/call?id={call.request_id}")

    assert "accepted" in seen.words
    assert "a text" in seen.words
    assert "Nothing has happened yet." in seen.words
    assert "Legs" not in seen.words
    assert seen.buttons() == []


def test_a_call_that_came_in_has_a_page() -> None:
    """An inbound call has no endpoint, and no flow before a program answers."""
    simulator = Simulator()
    call = simulator.call_in(from_=FROM, to=TO)
    seen = see(simulator, f"/call?id={call.request_id}")

    assert "none: it came in" in seen.words
    assert "No action yet." in seen.words


def test_a_timeline_that_is_too_long_begins_later() -> None:
    """Only the newest 300 notes of a timeline are shown."""
    simulator = Simulator()
    call = place(simulator, *[{"action": "record"}] * 400, HANGUP)
    pass_time(simulator, 500.0)
    seen = see(simulator, f"/call?id={call.request_id}")

    notes = [row for row in seen.values("tr", "id") if row and row.startswith("n-")]
    assert len(notes) == 300
    assert f"{len(call.timeline) - 300} before these" in seen.words


@pytest.mark.parametrize("query", ["", "?id=", "?id=nobody", "?id=%F0%28&" + "x=1&" * 99])
def test_a_call_that_is_not_there_is_said_to_be_gone(query: str) -> None:
    """An unknown call gets a 404 page."""
    answer = ask(Simulator(), "GET", f"/call{query}")

    assert answer.status == 404
    assert "No such call" in Seen(answer).words


def test_messages_tell_what_became_of_them() -> None:
    """Each message shows its attempts, its reply and what comes next."""
    simulator = Simulator(webhooks=Webhooks(HOOK, redeliver="until_2xx"), ring=1)
    simulator._world.wakers.append(lambda: None)
    place(simulator)
    pass_time(simulator, 60.0)
    found = {(one.what, one.leg): one for one in simulator.deliveries}
    found["record", "a"].status = 500
    found["answered", "a"].status = 204
    found["hangup", "a"].arrived = 0
    found["started", "a"].tries = found["started", "a"].arrived = 0
    seen = see(simulator, "/deliveries")

    for says in ("1 of 4", "500", "204 taken", "lost", "not sent yet", "no more"):
        assert says in seen.words
    assert any(word.startswith("in 4 min") for word in seen.words)
    assert "They go to a URL, which is not shown: it holds a token." in seen.words

    found["record", "a"].status = 204
    found["hangup", "a"].arrived = 1
    later = see(simulator, "/deliveries").words

    assert not any(word.startswith("in 4 min") for word in later), "it is not sent again"
    assert "no answer yet" in later
    assert "lost" not in later


def test_a_message_that_was_never_sent_says_why() -> None:
    """A message that nothing sends, or that waits as the simulator stops, is not waited for."""
    simulator = Simulator(webhooks=HOOK)
    place(simulator)
    pass_time(simulator, 5.0)
    nothing_sends = see(simulator, "/deliveries")
    simulator._world.wakers.append(lambda: None)
    simulator.send_again(simulator.deliveries[0])
    sending = see(simulator, "/deliveries")
    simulator._world.drop_outbox()
    stopped = see(simulator, "/deliveries")

    assert "not sent: the simulator does not run" in nothing_sends.words
    assert "no answer yet" not in nothing_sends.words
    assert "no answer yet" in sending.words
    assert "not sent: the simulator was stopped" in stopped.words


def test_messages_that_are_too_many_have_pages() -> None:
    """Fifty messages are shown at a time, the newest first."""
    simulator = Simulator(webhooks=HOOK)
    for n in range(30):
        place(simulator, to=TO + n)
    pass_time(simulator, 300.0)
    seen = see(simulator, "/deliveries")

    assert seen.buttons() == ["send_again"] * 50
    assert f"1 to 50 of {len(simulator.deliveries)}" in seen.words


def test_messages_say_where_they_go() -> None:
    """The view says whether webhooks go to no target or into a receiver."""
    nowhere = see(Simulator(), "/deliveries")
    somewhere = see(Simulator(webhooks=Receiver("t" * 43)), "/deliveries")

    assert "They go nowhere: this simulator has no target for webhooks." in nowhere.words
    assert "Nothing yet." in nowhere.words
    assert "They go into a receiver of this program." in somewhere.words


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"error_502_share": 0.05}, ["502 with TeleCMI's body", "5 %", "error_502_share"]),
        (
            {"error_502_share": 0.25, "error_502_kind": "gateway"},
            ["502 of a gateway, and 50 % of the calls are placed", "25 %"],
        ),
        ({"calls_per_second": 3}, ["429 above 3 calls a second", "calls_per_second"]),
        ({"files": ["a.wav"]}, ["404 for a file that is not uploaded", "files"]),
    ],
)
def test_what_goes_wrong_by_an_option_is_listed(options: Any, says: list[str]) -> None:
    """The faults page lists the options by which requests go wrong; they have no button."""
    seen = see(Simulator(**options), "/faults")

    assert set(says) <= set(seen.words)
    assert seen.buttons() == ["add_fault"]
    assert "lets requests go wrong" not in seen.text


def test_without_magic_numbers_nothing_goes_wrong() -> None:
    """The faults page promises nothing for magic numbers unless they are switched off."""
    assert (
        "No rule and no option lets requests go wrong."
        in see(Simulator(magic=False), "/faults").words
    )


# --- the log of requests ----------------------------------------------------------------


def rows_of(seen: Seen) -> list[str]:
    """Return the words of each row of a page's table, without the head."""
    return seen.text.split("Outcome")[1].split("#")[1:]


def test_requests_are_listed_with_their_replies() -> None:
    """Refused and malformed requests are listed, too, each with status, code and reason."""
    simulator = Simulator(calls_per_second=1)
    place(simulator)
    call = {"from": FROM, "to": TO + 1, "pcmo": [HANGUP]}
    kind = {"content-type": "application/json"}
    post(simulator, GLOBAL, {**call, "secret": "another"})
    post(simulator, GLOBAL, {"from": FROM, "to": TO})
    post(simulator, GLOBAL, call)
    for target, body in [(GLOBAL, b"{x"), ("/v2/none?token=x", b""), (GLOBAL, b"to=1")]:
        ask(simulator, "GET" if "none" in target else "POST", target, kind, body)
    simulator.refuse(431, "the headers are too large")
    seen = see(simulator, "/requests")

    rows = [" ".join(row.split()) for row in rows_of(seen)]
    assert [row.partition(" 0:00:00 ")[2].split(" Time in")[0] for row in rows] == [
        "431 431 none unknown not HTTP the headers are too large",
        "422 422 none unknown global_pcmo_make_call the body is not JSON",
        "404 404 none unknown GET none not found",
        "422 422 none unknown global_pcmo_make_call the body is not JSON",
        "429 429 none •••••••0002 global_pcmo_make_call too many requests",
        "422 422 none unknown global_pcmo_make_call the property pcmo is required",
        "420 420 none •••••••0002 global_pcmo_make_call authentication failed",
        "200 200 1 •••••••0001 global_pcmo_make_call call placed",
    ]
    assert [row for row in seen.values("tr", "id") if row] == [
        f"r-{n}" for n in range(8, 0, -1)
    ]
    assert "token" not in seen.text


@pytest.mark.parametrize(
    ("kind", "status", "says"),
    [
        ("reply_lost", "none", "call placed, closed before the reply"),
        ("reset", "none", "no call placed, connection reset"),
        ("cut", "200", "call placed, the reply broke off"),
        ("drip", "200", "call placed, one byte a second"),
        ("slow", "200", "call placed, reply after 10 min 00 s"),
        ("gateway_502_placed", "502", "call placed, the reply hides it"),
        ("gateway_502", "502", "no call placed"),
        ("no_json", "200", "call placed"),
    ],
)
def test_what_became_of_a_request_is_said(kind: str, status: str, says: str) -> None:
    """The log says whether the call was placed and what happened to the reply."""
    simulator = Simulator()
    simulator.faults.add(kind)
    post(simulator, GLOBAL, {"from": FROM, "to": TO, "pcmo": [HANGUP]})
    seen = see(simulator, "/requests")

    assert {status, says} <= set(seen.words)
    assert "chip good" not in [attrs.get("class") for _, attrs in seen.elements]


def test_a_request_has_a_page_with_its_body() -> None:
    """The body is shown as JSON with its structure; numbers, texts and secrets are hidden."""
    simulator = Simulator(secret="s3cr3t-of-the-app")
    flow: list[dict[str, Any]] = [
        {"action": "speak", "text": "Hello Anna"},
        {**ASK, "action_url": "https://app.example/menu-token"},
        BRIDGE,
    ]
    call = place(simulator, *flow, extra_params={"order": "42-17", "19170000007": 7})
    seen = see(simulator, "/request?n=1")
    body = json.loads(seen.words[seen.words.index("Body") + 2])

    assert body == {
        "appid": simulator.app_id,
        "secret": "(hidden)",
        "from": "•••••••0000",
        "to": "•••••••0001",
        "pcmo": [
            {"action": "speak", "text": "(10 letters)"},
            {**ASK, "action_url": "https://…"},
            {"action": "bridge", "connect": [{"type": "pstn", "number": "•••••••0002"}]},
        ],
        "extra_params": {"order": "(hidden)", "•••••••0007": "(hidden)"},
    }
    assert json.loads(seen.words[seen.words.index("Reply", 20) + 1])["code"] == 200
    assert f"call?id={call.request_id}" in seen.values("a", "href")
    assert "simulate --reveal" in seen.text


def test_numbers_and_texts_are_shown_if_that_is_wanted() -> None:
    """With ``reveal`` everything is shown but the secret and the paths of addresses."""
    simulator = Simulator(reveal=True, secret="s3cr3t-of-the-app", webhooks=HOOK)
    flow: list[dict[str, Any]] = [
        {"action": "speak", "text": "Hello Anna"},
        {**ASK, "action_url": f"{HOOK}?x=1"},
    ]
    call = place(simulator, *flow, extra_params={"order": 42, "odd": "http://[/token"})
    simulator.faults.add(Fault("reset", to=19170000003))
    pages = [
        see(simulator, target).text
        for target in [*VIEWS, f"/call?id={call.request_id}", "/request?n=1"]
    ]

    assert all(str(TO) in page for page in [*pages[:3], *pages[-2:]])
    assert "19170000003" in pages[4]
    for says in ("Hello Anna", '"order": 42', "http://127.0.0.1…", "http://…", str(FROM)):
        assert says in pages[-1]
    assert all("Phone numbers are shown in full." in page for page in pages)
    assert not [
        page
        for page in pages
        if "s3cr3t" in page or "token" in page.replace("it holds a token", "")
    ]


@pytest.mark.parametrize("secret", ["s3cr3t-of-the-app", 's3cr3t"of\\the-app'])
def test_a_revealed_body_hides_the_secret_by_its_value(secret: str) -> None:
    """It is found as a key, within a text, and in JSON that a text holds."""
    simulator = Simulator(reveal=True, secret=secret)
    nested = json.dumps({"app": secret})
    body = json.dumps({secret: 1, "pcmo": f"my {secret}!", "status": nested}).encode()
    ask(simulator, "POST", GLOBAL, {"content-type": "application/json"}, body)
    seen = see(simulator, "/request?n=1")

    assert "s3cr3t" not in seen.text
    assert '"(hidden)": 1' in seen.text
    assert '"pcmo": "my (hidden)!"' in seen.text
    assert json.dumps('{"app": "(hidden)"}') in seen.text


@pytest.mark.parametrize(
    ("kind", "body", "says"),
    [
        ("application/json", b"", "It has no body."),
        (
            "application/x-www-form-urlencoded",
            b"secret=s3cr3t",
            "It is not announced as application/json, so TeleCMI takes it for empty.",
        ),
        (
            "application/json",
            b'{"secret": "s3cr3t"',
            "It is not JSON. Expecting ',' delimiter: line 1, column 20.",
        ),
        pytest.param(
            "application/json",
            b"[" * 9_000,
            "It is not JSON, or too deep.",
            marks=pytest.mark.source,  # newer Pythons read deeper
        ),
        ("application/json", b"\xff s3cr3t", "It is not JSON, or too deep."),
        (
            "application/json",
            json.dumps(["s3cr3t"] * 3_000).encode(),
            "It is too long to be shown: 30,000 bytes.",
        ),
    ],
)
def test_a_body_that_cannot_be_read_is_not_shown(kind: str, body: bytes, says: str) -> None:
    """The page says why, and shows nothing of it, because it may hold a secret."""
    simulator = Simulator()
    ask(simulator, "POST", GLOBAL, {"content-type": kind}, body)
    seen = see(simulator, "/request?n=1")

    assert says in seen.words
    assert "s3cr3t" not in seen.text


def test_a_long_body_is_cut() -> None:
    """A body that is short as JSON, but long when it is laid out, is cut."""
    simulator = Simulator()
    ask(
        simulator,
        "POST",
        GLOBAL,
        {"content-type": "application/json"},
        b"[" + b"0," * 8_000 + b"0]",
    )
    (shown,) = [word for word in see(simulator, "/request?n=1").words if word.startswith("[\n")]

    assert len(shown) == 20_001
    assert shown.endswith("…")


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("reset", "None: the connection was broken before."),
        ("gateway_502", "502 Bad Gateway"),
    ],
)
def test_a_reply_that_is_no_json_is_shown(kind: str, says: str) -> None:
    """A gateway's page is shown as text, and a reply that never came is named."""
    simulator = Simulator()
    simulator.faults.add(kind)
    post(simulator, GLOBAL, {"from": FROM, "to": TO, "pcmo": [HANGUP]})

    assert says in see(simulator, "/request?n=1").text


@pytest.mark.parametrize("query", ["", "?n=2", "?n=x", "?n=01"])
def test_a_request_that_is_not_there_is_said_to_be_gone(query: str) -> None:
    """An unknown request gets a 404 page."""
    simulator = Simulator()
    place(simulator)
    answer = ask(simulator, "GET", f"/request{query}")

    assert answer.status == 404
    assert "No such request" in Seen(answer).words


def test_a_button_leads_back_to_the_same_page_of_a_list() -> None:
    """What was searched for, and the page, stay; nothing else of the address does."""
    simulator = Simulator(webhooks=HOOK)
    place(simulator)
    pass_time(simulator, 100.0)
    delivery = elements.delivery_id(simulator.deliveries[0])
    answer = press(
        simulator,
        "/deliveries?q=%2B1%20x%0d%0aX:&page=1&more=2",
        "send_again",
        delivery=delivery,
    )

    assert place_of(answer) == f"deliveries?q=%2B1+x%0D%0AX%3A&page=1#d-{delivery}"


# --- search and pages -------------------------------------------------------------------


def listed(simulator: Simulator, target: str) -> list[str]:
    """Return the ids of the rows on a page."""
    return [row for row in see(simulator, target).values("tr", "id") if row]


@cache
def crowded() -> Simulator:
    """Return a simulator with 10,001 calls."""
    simulator = Simulator(life=None, keep=None, magic=False)
    for n in range(10_001):
        place(simulator, to=TO + n)
    return simulator


def test_ten_thousand_calls_have_pages() -> None:
    """Fifty are shown at a time, with links to the pages before and after."""
    simulator = crowded()
    calls = simulator.calls
    first, second, last = (
        see(simulator, f"/calls?page={page}") for page in ("0", "2", "9" * 9)
    )

    def rows(seen: Seen) -> list[str | None]:
        return [row for row in seen.values("tr", "id") if row]

    assert rows(first) == [f"c-{call.request_id}" for call in calls[:-51:-1]]
    assert rows(second) == [f"c-{call.request_id}" for call in calls[-51:-101:-1]]
    assert rows(last) == [f"c-{call.request_id}" for call in calls[:1]]
    assert "51 to 100 of 10,001" in second.words
    assert [link for link in second.values("a", "href") if "page" in (link or "")] == [
        "calls?page=1", "calls?page=3",
    ]  # fmt: skip
    assert second.values("a", "rel") == ["prev", "next"]
    assert (first.values("a", "rel"), last.values("a", "rel")) == (["next"], ["prev"])


@pytest.mark.parametrize("page", ["x", "", "-1", "1.5", "9" * 5_000, "\u0663"])
def test_a_page_that_cannot_be_is_another(page: str) -> None:
    """A page that is no number, or too large, is the first or the last one."""
    simulator = Simulator(life=None)
    for n in range(60):
        place(simulator, to=TO + n)

    assert len(listed(simulator, f"/requests?{urlencode({'page': page})}")) in {10, 50}


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("", 5),
        ("0003", 1),
        ("19170000003", 1),
        (" +1 917-000-0003 ", 1),
        ("completed", 3),
        ("MISSED", 2),
        ("missed 0005", 1),
        ("missed 0003", 0),
        ("170000", 0),
        ("<script>", 0),
    ],
)
def test_calls_are_found(query: str, count: int) -> None:
    """Calls are found by their number, its last digits, their id and their state."""
    callees: dict[int | str, Callee] = {TO + n: Callee(ending="missed") for n in (3, 4)}
    simulator = Simulator(callees=callees)
    calls = [place(simulator, to=TO + n) for n in range(5)]
    pass_time(simulator, 1_000.0)
    seen = see(simulator, f"/calls?{urlencode({'q': query})}")
    by_id = listed(simulator, f"/calls?q={calls[2].request_id[:9]}")

    assert len([row for row in seen.values("tr", "id") if row]) == count
    assert ("Nothing fits." in seen.words) is (count == 0)
    assert query[:64] in seen.values("input", "value")
    assert ("Show all" in seen.words) is bool(query)
    assert by_id == [f"c-{calls[2].request_id}"]


def test_requests_and_messages_are_found() -> None:
    """Requests are found by status and outcome, messages by what they are and their state."""
    simulator = Simulator(webhooks=HOOK)
    for n in range(3):
        place(simulator, to=TO + n)
    post(simulator, GLOBAL, {"from": FROM})
    pass_time(simulator, 1_000.0)
    messages = len(simulator.deliveries)

    assert listed(simulator, "/requests?q=422") == ["r-4"]
    assert listed(simulator, "/requests?q=placed") == ["r-3", "r-2", "r-1"]
    assert listed(simulator, "/requests?q=refused+make") == []
    assert listed(simulator, "/requests?q=refused+global") == ["r-4"]
    assert len(listed(simulator, "/deliveries?q=record")) == 3
    assert len(listed(simulator, "/deliveries?q=0002")) == messages // 3
    assert "Nothing fits." in see(simulator, "/deliveries?q=none+zzzz").words
    assert "Nothing fits." in see(simulator, "/requests?q=zzzz").words


def test_a_search_is_bounded_and_says_so() -> None:
    """Only the newest ten thousand are searched, so that a page never takes long."""
    simulator = crowded()
    oldest = see(simulator, f"/calls?q={TO}")
    next_oldest = see(simulator, f"/calls?q={TO + 1}&page=7")

    assert "Searched: the newest 10,000." in oldest.words
    assert "Nothing fits." in oldest.words
    assert [row for row in next_oldest.values("tr", "id") if row] == [
        f"c-{simulator.calls[1].request_id}"
    ]


def test_a_search_has_pages_of_its_own() -> None:
    """The links to the pages keep what is searched for."""
    simulator = Simulator(life=None)
    for n in range(120):
        place(simulator, to=TO + n)
    seen = see(simulator, "/calls?" + urlencode({"q": "accepted &x=", "page": 2}))
    found = see(simulator, "/calls?q=accepted&page=2")

    assert "Nothing fits." in seen.words
    assert "calls?q=accepted&page=3" in found.values("a", "href")
    assert "51 to 100 of 120" in found.words


def test_a_call_that_lives_longer_than_it_is_kept_is_listed() -> None:
    """Live calls are listed even if newer ones have taken their places."""
    simulator = Simulator(keep=1)
    calls = [place(simulator, to=TO + n) for n in range(3)]

    assert listed(simulator, "/calls") == [f"c-{call.request_id}" for call in reversed(calls)]


def test_magic_numbers_are_listed() -> None:
    """Each magic number is shown with its meaning, and whether they are switched off."""
    seen = see(Simulator(magic=False), "/numbers")

    assert "…9920" in seen.words
    assert "placed, and the reply is lost" in seen.words
    assert "They are switched off in this simulator: magic=False." in seen.words
    assert "switched off" not in see(Simulator(), "/numbers").text


def test_every_kind_of_fault_has_its_words() -> None:
    """The form offers every kind of fault, each with its own label."""
    options = see(Simulator(), "/faults").values("option", "value")

    assert options == [kind.value for kind in FaultKind]
    assert len({kind.label for kind in FaultKind}) == len(FaultKind)


@pytest.mark.parametrize(
    ("seconds", "says"),
    [
        (-1, "0 s"),
        (59.9, "59 s"),
        (60, "1 min 00 s"),
        (3_599, "59 min 59 s"),
        (7_260, "2 h 01 min"),
    ],
)
def test_spans_are_said_in_words(seconds: float, says: str) -> None:
    """Short times are in seconds, longer ones in minutes and hours."""
    assert elements.span(seconds) == says


def test_what_users_named_is_cut_and_masked() -> None:
    """User-given names are cut, and numbers in them are masked."""
    assert elements.named("x" * 61) == "x" * 60 + "…"
    assert elements.named("a\u202eb\x00c") == "a\ufffdb\ufffdc"
    assert elements.named("to 19170000001") == "to •••••••0001"
    assert elements.named("x" * 55 + " 19170000001").endswith("••••…")
    assert elements.since(61.25) == "+1:01.2"


# --- what it hides ----------------------------------------------------------------------


def test_no_number_no_secret_and_no_key_is_shown() -> None:
    """No view shows a number, a secret, a key, a URL or a text of a call."""
    simulator = Simulator(
        secret="s3cr3t-of-the-app",
        webhooks=HOOK,
        callees={TO: Callee(ring=1, digits=("8642", "7531"))},
        seed="seed-in-words",
    )
    simulator.faults.add(Fault("reset", to=19170000003))
    bridge = {"action": "bridge", "connect": [{"number": 19170000002}, {"user": "19170000004"}]}
    call = place(
        simulator,
        {"action": "speak", "text": "the text that is spoken"},
        {"action": "play", "file_url": "https://files.example/signed-token"},
        {**ASK, "action_url": "https://app.example/action-token"},
        {"action": "19170000005"},
        bridge,
        extra_params={"19170000006": "value-of-the-user"},
    )
    pages: list[str] = []
    for until in range(0, 400, 8):
        pass_time(simulator, until)
        targets = [*VIEWS, f"/call?id={call.request_id}", "/request?n=1"]
        pages += [ask(simulator, "GET", target).body.decode() for target in targets]

    everything = "".join(pages)
    assert "•••••••0001" in everything
    for hidden in [
        "917000000", "s3cr3t", "hook-token", "action-token", "signed-token", "spoken",
        "value-of-the-user", "8642", "7531", "app.example",
    ]:  # fmt: skip
        assert hidden not in everything


HOSTILE = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        [
            "<script>alert(1)</script>",
            '"><img src=x onerror=alert(1)>',
            "' autofocus onfocus='alert(1)",
            "</td></tr></table></main><main id=main>",
            "--><!--",
            "]]>&lt;b&#62;&amp",
            "javascript:alert(1)",
            "\x00\ud800\u202e\n\r\t",
            "<!doctype html><base href=//attacker.example>",
        ]
    ),
)


def skeletons(hostile: str) -> list[list[tuple[str, list[str]]]]:
    """Return the skeleton of every view when all user-given names are hostile."""
    simulator = Simulator(life="manual", webhooks=HOOK, magic=False, seed=hostile)
    call = place(
        simulator,
        {"action": f"x{hostile}"},
        {"action": "play", "file_name": hostile},
        {"action": hostile + "y"},
        {"action": "bridge", "connect": [{"user": hostile}]},
        extra_params={f"k{hostile}": hostile},
    )
    call.answer()
    return [
        see(simulator, target).skeleton
        for target in [*VIEWS, f"/call?id={call.request_id}", "/request?n=1"]
    ]


PLAIN = skeletons("name")


@example("<script>alert(1)</script>")
@example('" onmouseover="alert(1)')
@example("\ud800")
@given(HOSTILE)
def test_nothing_that_data_says_becomes_markup(hostile: str) -> None:
    """Hostile names give the same elements and attributes as a plain name."""
    assert skeletons(hostile) == PLAIN


@given(HOSTILE, HOSTILE)
def test_text_and_values_are_read_as_they_were_given(text: str, value: str) -> None:
    """Any text and any attribute value survives the markup."""
    made = tag("p", text, None, 7, tag("input", value=value, hidden=True, for_=None), id=value)
    seen = Seen(HttpResponse(200, (), made.markup.encode("utf-8", "replace")))

    def read(said: str) -> str:
        return said.encode("utf-8", "replace").decode()

    assert seen.elements == [
        ("p", {"id": read(value)}),
        ("input", {"value": read(value), "hidden": None}),
    ]
    assert "".join(seen.words) == read(text) + "7"


@given(st.text(), st.text())
def test_what_is_asked_for_never_becomes_markup(query: str, body: str) -> None:
    """No address and no form breaks the page or raises an error."""
    simulator = Simulator()
    target = "/call?" + query.encode("ascii", "replace").decode()
    kind = {"content-type": "application/x-www-form-urlencoded"}
    sent = body.encode("utf-8", "replace")
    for answer in (
        ask(simulator, "GET", target),
        ask(simulator, "POST", target, kind, sent),
        ask(simulator, "POST", "/faults", kind, sent),
    ):
        assert answer.status in {403, 404}
        assert [tag for tag, _ in Seen(answer).elements].count("main") == 1


# --- what can be done -------------------------------------------------------------------


def test_a_fault_is_added_and_holds_from_the_next_request_on() -> None:
    """The form adds a rule, and the page redirects to it."""
    simulator = Simulator()
    done = press(
        simulator,
        "/faults",
        "add_fault",
        kind="vendor_502",
        to=f"+{TO}",
        share="100",
        attempts="1",
    )

    assert place_of(done) == "faults#f-1"
    assert list(simulator.faults) == [(1, Fault("vendor_502", to=TO, attempts=1))]
    fields = {"from": FROM, "to": TO, "pcmo": [HANGUP]}
    assert post(simulator, "/v2/global_pcmo_make_call", fields).answer.status == 502
    seen = see(simulator, "/faults")
    assert "•••••••0001" in seen.words
    assert "the first one" in seen.words


def test_faults_are_removed() -> None:
    """One rule or all rules are removed; an unknown one is ignored."""
    simulator = Simulator()
    for kind in FaultKind:
        press(simulator, "/faults", "add_fault", kind=kind, share="2.5", attempts="", to="")

    assert "2.5 %" in see(simulator, "/faults").words
    for rule in ("1", "1", "x"):
        assert place_of(press(simulator, "/faults", "remove_fault", rule=rule)) == "faults"
    assert len(simulator.faults) == len(FaultKind) - 1
    assert place_of(press(simulator, "/faults", "clear_faults")) == "faults"
    assert len(simulator.faults) == 0
    words = "No rule and no option lets requests go wrong. Magic numbers still do what they"
    assert words in see(simulator, "/faults").text


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"kind": "earthquake"}, "Fault.kind must be"),
        ({"kind": ""}, "Fault.kind must be"),
        ({"to": "917"}, "Fault.to: has 3 digits with its country code"),
        ({"share": "101"}, "Fault.share must be a number from 0 to 1"),
        ({"share": "nan"}, "Fault.share must be a number from 0 to 1"),
        ({"share": "half"}, "The share must be a number from 0 to 100."),
        ({"attempts": "0"}, "Fault.attempts must be a whole number"),
        ({"attempts": "-1"}, "The attempts must be a whole number"),
        ({"attempts": "9" * 5_000}, "The attempts must be a whole number"),
    ],
)
def test_a_fault_that_cannot_be_is_refused_with_a_reason(
    fields: dict[str, str], why: str
) -> None:
    """The page shows the reason, does not reload itself, and adds nothing."""
    simulator = Simulator()
    answer = press(simulator, "/faults", "add_fault", **{"kind": "reset", **fields})

    seen = Seen(answer)
    assert answer.status == 422
    assert why in seen.text
    assert seen.values("p", "role") == ["alert"]
    assert seen.values("script", "src") == []
    assert len(simulator.faults) == 0


@pytest.mark.parametrize("minutes", [1, 5, 30])
def test_time_is_let_pass(minutes: int) -> None:
    """All calls advance at once."""
    simulator = Simulator()
    call = place(simulator)
    done = press(simulator, "/", "advance", minutes=minutes)

    assert place_of(done) == "./"
    assert simulator.now == 60 * minutes
    assert call.over


@pytest.mark.parametrize("minutes", ["", "0", "-1", "2", "1e9", "x"])
def test_time_passes_by_what_is_on_the_buttons_only(minutes: str) -> None:
    """Only the times on the buttons are accepted."""
    simulator = Simulator()

    assert press(simulator, "/", "advance", minutes=minutes).status == 422
    assert simulator.now == 0


def test_a_call_is_driven_by_hand() -> None:
    """The page offers only the actions that fit, and never shows the pressed keys."""
    simulator = Simulator(life="manual")
    call = place(simulator, ASK, HANGUP)
    this = f"/call?id={call.request_id}"

    assert see(simulator, this).buttons() == ["answer", "miss", "hangup"]
    done = press(simulator, this, "answer", call=call.request_id)
    assert place_of(done) == f"call?id={call.request_id}"
    assert call.answered
    asking = see(simulator, this)
    assert asking.buttons() == ["press", "hangup"]
    assert "meta" not in [tag for tag, attrs in asking.elements if "http-equiv" in attrs]
    for keys in ("", "x", "1" * 33):
        assert press(simulator, this, "press", call=call.request_id, keys=keys).status == 422
    done = press(simulator, this, "press", call=call.request_id, keys="97")
    assert place_of(done) == f"call?id={call.request_id}"
    assert call.over
    seen = see(simulator, this)
    assert seen.buttons() == []
    assert "2 pressed" in seen.words
    assert "97" not in seen.words


def test_a_call_can_ring_in_vain_and_be_hung_up() -> None:
    """A manual call can be missed or hung up."""
    simulator = Simulator(life="manual")
    missed, cut = place(simulator), place(simulator, ASK, to=TO + 1)
    cut.answer()

    press(simulator, "/", "miss", call=missed.request_id)
    press(simulator, "/", "hangup", call=cut.request_id)

    assert missed.stage == "missed"
    assert cut.over


def test_what_a_call_does_not_wait_for_is_refused() -> None:
    """An outdated button does nothing, and the page says so."""
    simulator = Simulator(life="manual")
    call = place(simulator, ASK)
    call.answer()

    late = press(simulator, "/", "answer", call=call.request_id)
    unknown = press(simulator, "/", "hangup", call="nobody")

    assert late.status == 409
    assert "The call does not wait for that any more." in Seen(late).words
    assert unknown.status == 404


def test_a_message_is_sent_again() -> None:
    """The message goes out once more, and the page redirects to it."""
    simulator = Simulator(webhooks=HOOK, ring=1)
    place(simulator)
    pass_time(simulator, 60.0)
    simulator._world.wakers.append(lambda: None)
    record = next(one for one in simulator.deliveries if one.what == "record")
    done = press(simulator, "/deliveries", "send_again", delivery=elements.delivery_id(record))

    assert place_of(done) == f"deliveries#d-{elements.delivery_id(record)}"
    assert list(simulator._world.outbox) == [record]
    assert f"d-{elements.delivery_id(record)}" in see(simulator, "/deliveries").values(
        "tr", "id"
    )
    assert press(simulator, "/deliveries", "send_again", delivery="gone").status == 404


OTHER = Simulator()


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://attacker.example"},
        {"origin": "http://127.0.0.1:8788"},
        {"origin": "http://localhost:8787"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"content-type": "text/plain"},
        {"content-type": "multipart/form-data"},
    ],
)
def test_a_form_from_elsewhere_does_nothing(headers: dict[str, str]) -> None:
    """A form with the right token is refused if it comes from another origin."""
    simulator = Simulator()
    answer = press(simulator, "/faults", "add_fault", headers, kind="reset")

    assert answer.status == 403
    assert len(simulator.faults) == 0


@pytest.mark.parametrize(
    "fields",
    [
        {"token": ""},
        {"token": "x" * 43},
        {"token": "\u00e9"},
        {"token": token_of(OTHER)},
        {f"more{n}": "" for n in range(20)},
    ],
)
def test_a_form_without_the_token_does_nothing(fields: dict[str, str]) -> None:
    """A wrong token, or another simulator's, is refused."""
    simulator = Simulator()
    answer = press(simulator, "/faults", "add_fault", **{"kind": "reset", **fields})

    assert answer.status == 403
    assert "Nothing was done" in Seen(answer).text
    assert len(simulator.faults) == 0


@pytest.mark.parametrize("origin", [f"http://{HOST}", f"HTTPS://{HOST}"])
def test_a_form_of_the_page_itself_is_taken(origin: str) -> None:
    """A form with the page's own origin is accepted."""
    headers = {"origin": origin, "sec-fetch-site": "same-origin"}
    answer = press(Simulator(), "/faults", "clear_faults", headers)

    assert answer.status == 303


def test_what_nobody_offers_is_refused() -> None:
    """An action without a button is refused."""
    assert press(Simulator(), "/", "dial").status == 422


@pytest.mark.parametrize(
    ("view", "again"), [("/", True), ("/numbers", True), ("/faults", False), ("/calls", False)]
)
def test_without_javascript_the_page_loads_itself_again(view: str, again: bool) -> None:
    """Without JavaScript the page reloads itself, except the view with a form to fill in."""
    seen = see(Simulator(), view)

    assert (seen.values("meta", "http-equiv") == ["refresh"]) is again
    assert ("noscript", {}) in seen.elements or not again


class Peer:
    """A stream with a given peer address."""

    def __init__(self, host: str) -> None:
        self.host = host

    def extra(self, _: object, __: object) -> tuple[str, int]:
        """Return the address."""
        return self.host, 1


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("::ffff:10.0.0.1", False),
        ("10.0.0.1", False),
        ("a-name", False),
        ("fe80::1%eth0", False),
    ],
)
async def test_only_this_machine_is_shown_the_page(host: str, local: bool) -> None:
    """The client's address decides, because a Host header can be forged."""
    simulator = Simulator()
    stream = cast("Any", Peer(host))
    application = partial(answer_on_port, simulator)
    connection = HttpConnection(stream, application, ConnectionLimits(), refused)
    decision = simulator.receive(
        "GET", "/", {"host": "127.0.0.1"}, b"", at=0.0, local=connection._local
    )

    assert decision.answer.status == (200 if local else 404)
