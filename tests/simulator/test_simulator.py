"""What the simulator answers, asked without any I/O."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telecmi_async._internal.secrets import Secret
from telecmi_async.errors import ConfigurationError
from telecmi_async.http_server import ConnectionLimits
from telecmi_async.phone import Region
from telecmi_async.simulator import Callee, Envelope, Simulator, Webhooks
from telecmi_async.simulator.options import callee_at

if TYPE_CHECKING:
    from telecmi_async.simulator.replies import Decision

GLOBAL = "/v2/global_pcmo_make_call"
INDIA = "/v2/ind_pcmo_make_call"
JSON = {"content-type": "application/json"}


def call(to: object = 19170000001, /, **changes: object) -> dict[str, object]:
    """Return a complete request, with some properties changed."""
    return {
        "appid": 2222226,
        "secret": "simulated-secret",
        "from": 19170000000,
        "to": to,
        "pcmo": [{"action": "hangup"}],
    } | changes


def ask(
    simulator: Simulator,
    request: object,
    *,
    method: str = "POST",
    path: str = GLOBAL,
    at: float = 0.0,
) -> Decision:
    """Send one request to the simulator and return its decision."""
    body = request if isinstance(request, bytes) else json.dumps(request).encode()
    decision = simulator.receive(method, path, JSON, body, at=at)
    simulator.leave()
    return decision


def said(decision: Decision) -> dict[str, Any]:
    """Return the reply's JSON."""
    decoded: dict[str, Any] = json.loads(decision.answer.body)
    return decoded


@pytest.mark.parametrize("envelope", list(Envelope))
def test_a_success_comes_in_each_documented_envelope(envelope: Envelope) -> None:
    """Each envelope has its own keys, and all hold the same request_id."""
    decision = ask(Simulator(seed=3, envelope=envelope), call())

    assert decision.call is not None
    request_id = decision.call.request_id
    whole = {"data": {"status": "progress", "request_id": request_id}}
    top = {"status": "progress", "request_id": request_id}
    assert decision.answer.status == 200
    assert (
        said(decision)
        == {
            Envelope.A: whole | top | {"code": 200},
            Envelope.B: {"data": {"status": "progress"}, **top, "cmi_code": 200},
            Envelope.C: whole | {"code": 200},
        }[envelope]
    )


@pytest.mark.parametrize(("path", "region"), [(GLOBAL, Region.GLOBAL), (INDIA, Region.INDIA)])
def test_both_endpoints_place_calls(path: str, region: Region) -> None:
    """Either endpoint places a call, and its record has all fields."""
    simulator = Simulator()
    request = call(extra_params={"order": "42"}, duration=90)
    decision = ask(simulator, request, path=f"{path}?x=1", at=7.5)

    (record,) = simulator.calls
    assert record is decision.call
    assert record.region is region
    assert (record.to, record.from_, record.at) == (19170000001, 19170000000, 7.5)
    assert record.pcmo == ({"action": "hangup"},)
    assert record.extra_params == {"order": "42"}
    assert record.duration == 90
    assert record.attempt == 1


def test_records_and_simulators_show_no_number_and_no_secret() -> None:
    """Neither repr shows a full number or the secret."""
    simulator = Simulator(secret="very-secret")
    ask(simulator, call(secret="very-secret"))
    shown = repr(simulator) + repr(simulator.calls)

    assert "•••••••0001" in shown
    assert "19170000001" not in shown
    assert "19170000000" not in shown
    assert "very-secret" not in shown


def test_a_simulator_shows_the_options_that_differ_from_their_defaults() -> None:
    """The repr is as long as what was given; callees are counted, since their numbers are secret."""
    simulator = Simulator(seed=3, latency=0.5, callees={19170000001: Callee()}, keep=None)
    simulator.webhooks = Webhooks("https://example.com/t0ken", drop_share=0.1)
    simulator.talk = (5.0, 40.0)

    assert repr(Simulator()) == "Simulator()"
    shown = repr(simulator)
    assert shown.startswith(
        "Simulator(seed=3, latency=(0.5, 0.5), keep=None, callees=<1 numbers>, "
        "webhooks=Webhooks(dialect="
    )
    assert "t0ken" not in shown


@pytest.mark.parametrize("name", ["appid", "secret", "from", "to", "pcmo"])
@pytest.mark.parametrize("code", [422, 501, 502])
def test_a_missing_property_is_refused_by_name(name: str, code: int) -> None:
    """A missing property gets the configured code, in the status and in the body."""
    simulator = Simulator(missing_code=code)
    request = call()
    del request[name]
    decision = ask(simulator, request)

    assert decision.answer.status == code
    assert said(decision) == {
        "status": "error",
        "code": code,
        "msg": f"the property {name} is required",
    }
    assert decision.call is None
    assert simulator.placed(19170000001) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"appid": "2222226"}, "appid must be a number, not a string"),
        ({"appid": True}, "appid must be a number, not a boolean"),
        ({"secret": 7}, "secret must be a string, not a number"),
        ({"from": 1.5}, "from must be a number, not a number with a fraction"),
        ({"to": None}, "to must be a number, not null"),
        ({"to": 0}, "to must be a phone number of up to 15 digits"),
        ({"to": 10**15}, "to must be a phone number of up to 15 digits"),
        ({"pcmo": '[{"action": "hangup"}]'}, "pcmo must be an array, not a string"),
        ({"pcmo": []}, "pcmo must hold at least one action"),
        ({"pcmo": ["hangup"]}, "pcmo[0] must be an object with a string action"),
        ({"pcmo": [{"action": "hangup"}, {"action": 1}]}, "pcmo[1] must be an object with"),
        ({"extra_params": []}, "extra_params must be an object, not an array"),
        ({"duration": True}, "duration must be a number, not a boolean"),
        ({"duration": {}}, "duration must be a number, not an object"),
        ({"duration": 0}, "duration must be above 0"),
    ],
)
def test_a_wrong_type_is_refused_by_name(change: dict[str, object], message: str) -> None:
    """A property of the wrong type gets 422 and a message that names it."""
    decision = ask(Simulator(missing_code=502), call(**change))

    assert decision.answer.status == 422
    assert message in said(decision)["msg"]


@pytest.mark.parametrize("value", ["a=1", None])
def test_extra_params_may_be_text_or_absent(value: str | None) -> None:
    """``extra_params`` may be a string, as TeleCMI's tables say, or missing."""
    decision = ask(Simulator(), call(extra_params=value, duration=None))

    assert decision.call is not None
    assert decision.call.extra_params == value


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000, b"1" * 10_000])
def test_what_is_no_json_is_refused(body: bytes) -> None:
    """A body that is not JSON gets 422."""
    decision = ask(Simulator(), body)

    assert decision.answer.status == 422
    assert said(decision)["msg"] == "the body is not JSON"


def test_what_is_no_object_is_refused() -> None:
    """JSON that is not an object gets 422."""
    decision = ask(Simulator(), [])

    assert said(decision)["msg"] == "the body must be an object, not an array"


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "text/plain"])
def test_what_is_not_announced_as_json_counts_as_empty(content_type: str) -> None:
    """Without a JSON content type every property counts as missing."""
    body = json.dumps(call()).encode()
    decision = Simulator().receive("POST", GLOBAL, {"content-type": content_type}, body, at=0.0)

    assert said(decision)["msg"] == "the property appid is required"


def test_json_may_be_announced_with_its_character_set() -> None:
    """Parameters of the content type change nothing."""
    body = json.dumps(call()).encode()
    headers = {"content-type": "Application/JSON; charset=utf-8"}

    assert Simulator().receive("POST", GLOBAL, headers, body, at=0.0).answer.status == 200


@pytest.mark.parametrize("change", [{"appid": 1}, {"secret": "another"}, {"secret": "\ud800é"}])
def test_wrong_credentials_get_420(change: dict[str, object]) -> None:
    """Another app id or secret gets 420, and nothing is placed."""
    simulator = Simulator()
    decision = ask(simulator, call(**change))

    assert decision.answer.status == 420
    assert said(decision)["code"] == 420
    assert simulator.calls == ()


@pytest.mark.parametrize(
    ("options", "change", "code"),
    [
        ({}, {"appid": 1}, 420),
        ({}, {"to": "x"}, 422),
        ({"error_502_share": 1}, {}, 502),
        ({"files": []}, {"pcmo": [{"action": "play", "file_name": "a.wav"}]}, 404),
    ],
)
def test_refusals_may_come_in_the_body_alone(
    options: dict[str, Any], change: dict[str, object], code: int
) -> None:
    """With ``refusals="body"`` the code is in the body, and the status is 200."""
    decision = ask(Simulator(refusals="body", **options), call(**change))

    assert decision.answer.status == 200
    assert said(decision)["code"] == code
    assert decision.call is None


def test_what_is_no_call_is_refused_by_its_status() -> None:
    """Where no endpoint is, it is the web server that answers, not the endpoint."""
    simulator = Simulator(refusals="body", codes="cmi", envelope="B")
    decisions = [ask(simulator, call(), path="/"), ask(simulator, call(), method="GET")]

    assert [decision.answer.status for decision in decisions] == [404, 405]
    assert [said(decision)["code"] for decision in decisions] == [404, 405]


@pytest.mark.parametrize(("envelope", "key"), [("A", "code"), ("B", "cmi_code"), ("C", "code")])
def test_codes_may_be_spelt_as_older_endpoints_do(
    envelope: Literal["A", "B", "C"], key: str
) -> None:
    """With ``codes="cmi"`` successes and refusals hold "cmi-200" and its like."""
    simulator = Simulator(codes="cmi", envelope=envelope)
    accepted, refused = ask(simulator, call()), ask(simulator, call(appid=1))

    assert (accepted.answer.status, said(accepted)[key]) == (200, "cmi-200")
    assert (refused.answer.status, said(refused)[key]) == (420, "cmi-420")


@pytest.mark.parametrize(
    ("action", "status"),
    [
        ({"action": "play", "file_name": "welcome.wav"}, 200),
        ({"action": "play", "file_name": "welcom.wav"}, 404),
        ({"action": "play", "file_name": ["welcome.wav"]}, 404),
        ({"action": "play_get_input", "file_name": "menu.wav"}, 404),
        ({"action": "play", "file_url": "https://example.com/a.wav"}, 200),
        ({"action": "play_get_input", "file_name": "a", "file_url": "https://a.b/a"}, 200),
        ({"action": "record", "file_name": "menu.wav"}, 200),
    ],
)
def test_files_that_were_not_uploaded_get_404(action: dict[str, object], status: int) -> None:
    """Only the names of known files, and URLs, can be played."""
    simulator = Simulator(files=["welcome.wav"])
    decision = ask(simulator, call(pcmo=[{"action": "hangup"}, action]))

    assert decision.answer.status == said(decision)["code"] == status
    assert simulator.numbers() == (status == 200)


def test_refusals_follow_the_envelope() -> None:
    """A refusal uses ``cmi_code`` if a success does."""
    decision = ask(Simulator(envelope="B"), call(appid=1))

    assert said(decision)["cmi_code"] == 420


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/", 404),
        ("POST", "/v2/make_call", 404),
        ("GET", "/v2/nothing", 404),
        ("GET", GLOBAL, 405),
        ("PUT", INDIA, 405),
    ],
)
def test_only_the_two_endpoints_are_there(method: str, path: str, status: int) -> None:
    """Another path gets 404, another method 405 with the allowed one."""
    decision = ask(Simulator(), call(), method=method, path=path)

    assert decision.answer.status == status
    assert (("Allow", "POST") in decision.answer.headers) == (status == 405)


def test_every_answer_says_that_it_is_simulated() -> None:
    """Every reply has the header that marks it as simulated."""
    simulator = Simulator()
    answers = [ask(simulator, call()).answer, ask(simulator, {}).answer]

    assert all(("X-TeleCMI-Simulator", "1") in answer.headers for answer in answers)
    assert all(
        ("Content-Length", str(len(answer.body))) in answer.all_headers() for answer in answers
    )


def test_a_vendors_502_places_nothing_and_a_retry_succeeds() -> None:
    """A vendor's 502 places no call, and most retries succeed."""
    simulator = Simulator(seed=5, error_502_share=0.05)
    numbers = range(19170000000, 19170002000)
    refused = [to for to in numbers if ask(simulator, call(to)).answer.status == 502]
    first = {to: simulator.placed(to) for to in refused}
    again = [to for to in refused if ask(simulator, call(to)).answer.status == 200]

    assert 60 < len(refused) < 140
    assert set(first.values()) == {0}
    assert len(again) > 0.8 * len(refused)
    simulator.no_duplicates()


def test_a_vendors_502_is_in_its_own_words() -> None:
    """The vendor's 502 has the documented JSON body."""
    decision = ask(Simulator(error_502_share=1), call())

    assert decision.answer.status == 502
    assert said(decision) == {
        "status": "error",
        "code": 502,
        "msg": "the property required is missing",
    }


def test_a_gateways_502_is_a_page_and_may_have_placed_the_call() -> None:
    """About half of a gateway's 502s placed the call, and the page does not say which."""
    simulator = Simulator(error_502_share=1, error_502_kind="gateway")
    decisions = [ask(simulator, call(to)) for to in range(19170000000, 19170001000)]
    placed = sum(decision.call is not None for decision in decisions)

    assert {decision.answer.status for decision in decisions} == {502}
    assert len({decision.answer.body for decision in decisions}) == 1
    assert decisions[0].answer.body.startswith(b"<html>")
    assert ("Content-Type", "text/html") in decisions[0].answer.headers
    assert 400 < placed < 600
    assert placed == simulator.numbers() == len(simulator.calls)


@pytest.mark.parametrize(("share", "placed"), [(0, 0), (1, 1)])
def test_a_gateways_502_can_be_made_certain(share: float, placed: int) -> None:
    """With a share of 0 or 1 a gateway's 502 never or always places the call."""
    simulator = Simulator(
        error_502_share=1, error_502_kind="gateway", gateway_placed_share=share
    )
    ask(simulator, call())

    assert simulator.placed("+1 917 000 0001") == placed


@given(st.permutations(range(40)), st.integers(0, 3))
def test_answers_do_not_depend_on_the_order_of_calls(order: list[int], seed: int) -> None:
    """Each call's reply, id and latency do not depend on the order of calls."""

    def answer(simulator: Simulator, n: int) -> tuple[object, ...]:
        decision = ask(simulator, call(19170000000 + n))
        placed = decision.call and decision.call.request_id
        return decision.answer, decision.delay, placed

    def answers(numbers: list[int]) -> dict[tuple[int, int], tuple[object, ...]]:
        simulator = Simulator(seed=seed, error_502_share=0.5, latency=(0.1, 0.9))
        return {(n, attempt): answer(simulator, n) for attempt in (1, 2) for n in numbers}

    assert answers(order) == answers(sorted(order))


def test_latency_is_fixed_or_drawn_for_each_call() -> None:
    """One number is a fixed latency; a pair is a range to draw from for each call."""
    fixed = ask(Simulator(latency=0.04), call()).delay
    simulator = Simulator(latency=(0.1, 0.3))
    drawn = {ask(simulator, call(19170000000 + n)).delay for n in range(100)}

    assert fixed == 0.04
    assert len(drawn) == 100
    assert 0.1 <= min(drawn) < 0.12
    assert 0.28 < max(drawn) < 0.3


def test_calls_above_the_rate_get_429() -> None:
    """More calls per second than allowed get 429 and Retry-After: 1."""
    simulator = Simulator(calls_per_second=2)
    moments = [0.0, 0.1, 0.2, 0.9, 1.0, 1.05, 1.1]
    statuses = [
        ask(simulator, call(19170000000 + n), at=at).answer.status
        for n, at in enumerate(moments)
    ]
    refused = ask(simulator, call(19170000099), at=1.2)

    assert statuses == [200, 200, 429, 429, 200, 429, 200]
    assert refused.answer.status == 429
    assert ("Retry-After", "1") in refused.answer.headers
    assert simulator.numbers() == 4


def test_it_knows_who_was_dialled_twice() -> None:
    """Numbers that were dialled more than once are named, masked, the first five of them."""
    simulator = Simulator()
    for to in range(19170000000, 19170000007):
        ask(simulator, call(to))
    simulator.no_duplicates()
    for to in range(19170000000, 19170000007):
        ask(simulator, call(to))
    ask(simulator, call(19170000000))

    assert simulator.placed(19170000000) == 3
    assert simulator.duplicates() == 7
    with pytest.raises(AssertionError, match="and 2 more") as caught:
        simulator.no_duplicates()
    assert "•••••••0000 (3 times), •••••••0001 (2 times)" in str(caught.value)
    assert "19170" not in str(caught.value)


def test_few_that_were_dialled_twice_are_all_named() -> None:
    """Up to five duplicates are all named, without "and more"."""
    simulator = Simulator()
    ask(simulator, call())
    ask(simulator, call())

    with pytest.raises(AssertionError, match=r"dialled more than once: •+0001 \(2 times\)$"):
        simulator.no_duplicates()


@pytest.mark.parametrize(("keep", "kept"), [(3, [7, 8, 9]), (0, []), (None, list(range(10)))])
def test_only_the_newest_calls_are_kept(keep: int | None, kept: list[int]) -> None:
    """Records are bounded, counts are not."""
    simulator = Simulator(keep=keep)
    for n in range(10):
        ask(simulator, call(19170000000 + n))

    assert [record.to - 19170000000 for record in simulator.calls] == kept
    assert simulator.numbers() == 10
    assert simulator.requests == 10


def test_it_counts_requests_under_way() -> None:
    """The highest numbers of requests in flight and in a second are kept."""
    simulator = Simulator()
    body = json.dumps(call()).encode()
    for _ in range(3):
        simulator.receive("POST", GLOBAL, JSON, body, at=0.0)
    for _ in range(3):
        simulator.leave()
    ask(simulator, call())

    assert simulator.max_in_flight == 3
    assert simulator.busiest_second() == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"latency": -1}, "must be seconds, 0 or more, or a pair of them (shortest, longest)"),
        ({"latency": (2, 1)}, "must be seconds"),
        ({"latency": (1, 2, 3)}, "must be seconds"),
        (
            {"latency": "fast"},
            'must be seconds, 0 or more, or a pair of them (shortest, longest), not "fast"',
        ),
        ({"latency": float("nan")}, "must be seconds"),
        ({"envelope": "D"}, 'must be "A", "B" or "C", not "D"'),
        ({"refusals": "both"}, 'must be "status" or "body", not "both"'),
        ({"codes": "CMI"}, 'must be "number" or "cmi", not "CMI"'),
        ({"error_502_share": 5}, "must be a number from 0 to 1, not 5"),
        ({"error_502_share": "a"}, 'must be a number from 0 to 1, not "a"'),
        ({"gateway_placed_share": -0.1}, "must be a number from 0 to 1, not -0.1"),
        ({"gateway_placed_share": True}, "must be a number from 0 to 1, not True"),
        ({"error_502_kind": "html"}, 'must be "vendor" or "gateway", not "html"'),
        (
            {"files": "welcome.wav"},
            'must be names of files, or None for any, not "welcome.wav"',
        ),
        ({"files": [1]}, "must be names of files, or None for any, not a value of type list"),
        ({"files": 1}, "must be names of files, or None for any, not 1"),
        ({"missing_code": 404}, "must be 422, 501 or 502, not 404"),
        ({"missing_code": 422.0}, "must be 422, 501 or 502, not 422.0"),
        ({"calls_per_second": 0}, "must be a whole number, 1 or more, or None, not 0"),
        ({"calls_per_second": 1.5}, "must be a whole number, 1 or more, or None, not 1.5"),
        ({"keep": True}, "must be a whole number, 0 or more, or None, not True"),
        ({"seed": None}, "must be an int or a str, not None"),
        ({"seed": True}, "must be an int or a str, not True"),
    ],
)
def test_an_option_that_cannot_be_right_is_refused(
    options: dict[str, Any], message: str
) -> None:
    """A wrong option raises an error that names it and says what would be right."""
    with pytest.raises(ConfigurationError) as caught:
        Simulator(**options)

    assert str(caught.value).startswith(f"Simulator.{next(iter(options))} {message}")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"app_id": "mine"}, "app_id must be TeleCMI's number for your app"),
        ({"app_id": None}, "app_id must be TeleCMI's number for your app"),
        ({"secret": ""}, "secret must be the secret that belongs to the app id"),
        ({"secret": 7}, "secret must be the secret that belongs to the app id"),
    ],
)
def test_credentials_that_no_service_could_have_are_refused(
    options: dict[str, Any], message: str
) -> None:
    """Credentials that a service refuses are refused here, too."""
    with pytest.raises(ConfigurationError, match=message):
        Simulator(**options)


def test_credentials_are_read_as_a_service_reads_them() -> None:
    """A str of digits and a `Secret` are read as a service reads them."""
    options: dict[str, Any] = {"app_id": "7654321", "secret": Secret("of-its-own")}
    simulator = Simulator(**options)

    assert ask(simulator, call(appid=7654321, secret="of-its-own")).answer.status == 200
    assert (simulator.app_id, simulator.secret) == (7654321, "of-its-own")


@pytest.mark.parametrize("seed", ["nightly", "", "\ud800", -1])
def test_a_seed_may_be_anything_that_can_be_written_down(seed: int | str) -> None:
    """A seed may be any int or str, and each gives its own ids."""
    same, again, other = (
        ask(Simulator(seed=each), call()).answer.body for each in (seed, seed, f"{seed}?")
    )

    assert same == again != other


@pytest.mark.parametrize("options", [{"header_bytes": 0}, {"body_bytes": 1.5}, {"idle": 0}])
def test_a_limit_that_cannot_be_right_is_refused(options: dict[str, Any]) -> None:
    """Limits must be positive, and sizes must be whole."""
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        ConnectionLimits(**options)


@given(
    st.text(),
    st.text(),
    st.dictionaries(st.text(), st.text()),
    st.one_of(
        st.binary(),
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        ).map(lambda value: json.dumps(value).encode()),
    ),
)
def test_anything_gets_an_answer(
    method: str, path: str, headers: dict[str, str], body: bytes
) -> None:
    """Any request to any path gets an error status, and no exception."""
    simulator = Simulator()
    for decision in (
        simulator.receive(method, path, headers, body, at=0.0),
        simulator.receive("POST", GLOBAL, JSON, body, at=0.0),
    ):
        assert 400 <= decision.answer.status < 600


@given(
    st.fixed_dictionaries(
        {},
        optional=dict.fromkeys(
            ["appid", "secret", "from", "to", "pcmo", "extra_params", "duration"],
            st.none()
            | st.booleans()
            | st.floats()
            | st.integers()
            | st.text()
            | st.lists(st.dictionaries(st.text(), st.text()))
            | st.just([{"action": "x"}]),
        ),
    )
)
def test_any_properties_get_an_answer(changes: dict[str, object]) -> None:
    """Any property values get a success or a documented refusal."""
    decision = ask(Simulator(), call(**changes))

    assert decision.answer.status in {200, 420, 422}


def test_one_callee_stands_for_all_others() -> None:
    """`callee` is who answers, unless the number's script, its digits or chance decides."""
    tired, busy = Callee(talk=1), Callee(ending="busy")
    simulator = Simulator(callee=tired, callees={19170000001: busy})

    assert callee_at(simulator, 19170000002, 1) is tired
    assert callee_at(simulator, 19170000001, 1) is busy
    assert callee_at(simulator, 19170009901, 1).ending == "missed"
    assert (
        callee_at(Simulator(callee=tired, answered_share=0), 19170000002, 1).ending == "missed"
    )
    with pytest.raises(ConfigurationError, match="callee must be a Callee, not"):
        Simulator(callee="missed")  # type: ignore[arg-type]  # what a user may write
