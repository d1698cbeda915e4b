"""Verdicts: how attempts and calls are judged, each cell of the tables."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from telecmi_async import errors
from telecmi_async._internal.secrets import Redactor, Secret
from telecmi_async.attempt import Attempt, Outcome
from telecmi_async.calls.retry import RetryPolicy
from telecmi_async.calls.verdict import Verdict, conclude, judge, message_of
from telecmi_async.wire.reply import Failure, Reply

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
REDACT = Redactor(Secret("the-secret"))
ID = "a" * 43

A, R, S, U = Outcome.ACCEPTED, Outcome.REJECTED, Outcome.SLOW_DOWN, Outcome.UNKNOWN


def judged(status: int, body: Any = b"", retry_after: str | None = None) -> Verdict:
    """Judge a reply; a body that is not bytes is sent as JSON."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return judge(Reply(status, raw, retry_after), redact=REDACT, now=NOW)


ENVELOPES = {
    "A: the current pages": {
        "data": {"status": "progress", "request_id": ID},
        "status": "progress",
        "request_id": ID,
        "code": 200,
    },
    "B: the vendor's examples": {
        "data": {"status": "progress"},
        "status": "progress",
        "request_id": ID,
        "cmi_code": 200,
    },
    "C: the first version": {"data": {"status": "progress", "request_id": ID}, "code": 200},
    "code as text": {"request_id": ID, "code": "200"},
    "code of older endpoints": {"request_id": ID, "code": "cmi-200"},
    "cmi_code wins": {"request_id": ID, "cmi_code": 200, "code": 404},
    "no code at all": {"request_id": ID, "status": "progress"},
}


@pytest.mark.parametrize("body", ENVELOPES.values(), ids=ENVELOPES.keys())
def test_every_attested_envelope_is_an_accepted_call(body: dict[str, Any]) -> None:
    """A success in any shape that TeleCMI is known to send gives a request_id."""
    verdict = judged(200, body)

    assert verdict.outcome is A
    assert verdict.request_id == ID
    assert verdict.code == 200
    assert verdict.body == body


@pytest.mark.parametrize(
    ("status", "body", "outcome", "code"),
    [
        # 2xx without a valid request_id
        (200, b"", U, 200),
        (200, b"not json", U, 200),
        (200, b"\xff\xfe{", U, 200),
        (200, [], U, 200),
        (200, {"code": 200}, U, 200),
        (200, {"code": 200, "request_id": ""}, U, 200),
        (200, {"code": 200, "request_id": 12}, U, 200),
        (200, {"code": 200, "data": "progress"}, U, 200),
        (204, b"", U, 204),
        # a success is any 2xx, by status and by code
        (201, {"request_id": ID}, A, 201),
        (200, {"code": 202, "request_id": ID}, A, 202),
        (299, {"code": 299, "request_id": ID}, A, 299),
        (300, {"code": 200, "request_id": ID}, U, 200),
        (199, {"code": 200, "request_id": ID}, U, 200),
        (200, {"code": 300, "request_id": ID}, U, 300),
        (200, {"code": 199, "request_id": ID}, U, 199),
        # the code in the body counts, not the status
        (200, {"code": 420}, R, 420),
        (200, {"cmi_code": 401}, R, 401),
        (200, {"code": 407}, R, 407),
        (200, {"code": "422"}, R, 422),
        (200, {"code": 501}, R, 501),
        (200, {"code": "cmi-404"}, R, 404),
        (200, {"code": 502}, R, 502),
        (200, {"code": 429}, S, 429),
        (200, {"code": 500}, U, 500),
        (200, {"code": 1234}, U, 1234),
        (200, {"code": True}, U, 200),
        (200, {"code": "twelve"}, U, 200),
        (500, {"code": 420}, R, 420),
        (502, {"code": 422}, R, 422),
        (420, {"code": 200}, U, 200),
        # HTTP statuses
        (400, b"", R, 400),
        (401, b"", R, 401),
        (404, b"<html>", R, 404),
        (407, b"", R, 407),
        (408, b"", U, 408),
        (498, b"", R, 498),
        (499, b"", U, 499),
        (499, b"<html>", U, 499),
        (499, {"code": 420}, R, 420),
        (200, {"code": 499}, U, 499),
        (200, {"code": "cmi-408"}, U, 408),
        (422, {"code": 499}, U, 499),
        (413, b"", R, 413),
        (420, b"", R, 420),
        (422, b"", R, 422),
        (429, b"", S, 429),
        (500, b"", U, 500),
        (501, b"", R, 501),
        (502, {"code": 502, "msg": "the property required is missing"}, R, 502),
        (502, b"<html>Bad Gateway</html>", U, 502),
        (502, {"message": "Internal server error"}, U, 502),
        (502, b"", U, 502),
        (400, {"code": 429}, S, 429),
        # a 502 that may be TeleCMI's but is not readable: unknown
        (502, {"status": "progress"}, U, None),
        (502, {"code": "OK 200"}, U, None),
        (502, {"cmi_code": "OK 200"}, U, None),
        (502, {"data": {}}, U, None),
        (399, b"", U, 399),
        (502, {"request_id": 12}, U, None),
        (502, {"code": 502, "request_id": 12}, U, None),
        (200, {"code": 502, "request_id": 12}, U, None),
        (502, {"code": 0}, U, 0),
        (502, b'{"code":200,"reque', U, None),
        (422, {"status": "error"}, R, 422),
        (503, b"", U, 503),
        (504, b"", U, 504),
        (301, b"", R, 301),
        (303, b"", R, 303),
        (307, {"code": 200}, R, 200),
        # a request_id in a refusal: unknown
        (502, {"code": 502, "request_id": ID}, U, 502),
        (502, {"code": 200, "request_id": ID}, U, 200),
        (200, {"code": 404, "request_id": ID}, U, 404),
        (200, {"code": 404, "request_id": 123}, U, 404),
        (200, {"code": 404, "data": {"request_id": "a b"}}, U, 404),
        (302, {"request_id": ID}, U, 302),
    ],
)
def test_a_reply_is_judged_by_the_table(
    status: int, body: Any, outcome: Outcome, code: int | None
) -> None:
    """Every cell of the table gives the documented outcome."""
    verdict = judged(status, body)

    assert (verdict.outcome, verdict.code, verdict.status) == (outcome, code, status)
    assert verdict.detail


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("1.5", 1.5),
        ("86400", 86400.0),
        ("Mon, 23 Nov 2026 12:00:30 GMT", 30.0),
        ("Mon, 23 Nov 2026 11:00:00 GMT", 0.0),
        ("-1", None),
        ("nan", None),
        ("inf", None),
        ("1e999", None),
        ("soon", None),
        ("", None),
        ("Mon, 23 Nov 99999 12:00:30 GMT", None),
        ("Mon, 23 Nov 2026 12:00:30", None),
        (None, None),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_else_absent(
    header: str | None, seconds: float | None
) -> None:
    """An invalid Retry-After is ignored."""
    slow = judged(429, retry_after=header)
    unavailable = judged(503, retry_after=header)

    assert slow.outcome is S
    assert slow.retry_after == seconds
    assert unavailable.outcome is (U if seconds is None else S)


def test_a_failure_is_unknown_unless_nothing_was_sent() -> None:
    """A failure is unknown unless no byte was sent."""
    sent = judge(Failure("ReadTimeout", may_have_left=True), redact=REDACT, now=NOW)
    unsent = judge(Failure("ConnectError", may_have_left=False), redact=REDACT, now=NOW)

    assert (sent.outcome, sent.detail) == (U, "ReadTimeout")
    assert (unsent.outcome, unsent.detail) == (Outcome.NOT_SENT, "ConnectError")


@pytest.mark.parametrize(
    ("failure", "why", "late"),
    [
        (Failure("ConnectError", may_have_left=False, unreached=True), "ConnectError", False),
        (Failure("too late", may_have_left=False), "", True),
        (Failure("TypeError", may_have_left=False, permanent=True), "", False),
    ],
)
def test_what_could_not_be_connected_says_so(failure: Failure, why: str, *, late: bool) -> None:
    """A call that was not sent says by itself if nothing could be connected, or it was late."""
    verdict = judge(failure, redact=REDACT, now=NOW)
    error = conclude([verdict], (), reference="r")

    assert isinstance(error, errors.NotSent)
    assert (error.unreached, error.late) == (why, late)


@pytest.mark.parametrize("permanent", [False, True])
@pytest.mark.parametrize("unreached", [False, True])
@pytest.mark.parametrize("left", [False, True])
def test_only_a_request_that_did_not_leave_can_fail_for_good(
    left: bool, unreached: bool, permanent: bool
) -> None:
    """A request that could not be built is not sent; if it left all the same, it is unknown."""
    failure = Failure("TypeError", may_have_left=left, permanent=permanent, unreached=unreached)

    verdict = judge(failure, redact=REDACT, now=NOW)

    assert verdict.outcome is (U if left else Outcome.NOT_SENT)
    assert verdict.unreached is (unreached and not left)
    assert verdict.permanent is (permanent and not left)
    if not left:
        error = conclude([verdict], (), reference="r")
        what = "request could not be built" if permanent else "call was not sent"
        assert str(error) == f"the {what} (TypeError); no phone rang"


@pytest.mark.parametrize(
    "answer",
    [
        Reply(200, b'{"code": 200}'),
        Reply(420, b""),
        Reply(429, b"", "7"),
        Reply(502, b""),
        Reply(502, b'{"code": 502}'),
        Reply(302, b""),
        Reply(408, b""),
        Failure("ConnectError", may_have_left=False),
        Failure("TypeError", may_have_left=False, permanent=True),
        Failure("ConnectError", may_have_left=False, unreached=True),
        Failure("ReadTimeout", may_have_left=True),
    ],
)
def test_an_earlier_copy_may_have_been_placed_whatever_came_back(
    answer: Reply | Failure,
) -> None:
    """If the HTTP client sent a request twice, all but an accepted call is unknown, and says so."""
    once = judge(answer, redact=REDACT, now=NOW)

    verdict = judge(attrs.evolve(answer, resent=True), redact=REDACT, now=NOW)

    assert (once.resent, verdict.resent) == (False, True)
    assert once.unreached is getattr(answer, "unreached", False)
    assert not verdict.unreached
    assert (verdict.outcome, verdict.permanent, verdict.retry_after) == (U, False, None)
    assert verdict.detail == f"{once.detail}; the HTTP client sent the request more than once"
    assert not any(
        policy.repeats(verdict) for policy in (RetryPolicy(), RetryPolicy(statuses={420, 502}))
    )
    assert isinstance(conclude([verdict], (), reference="r"), errors.CallOutcomeUnknown)


def test_an_accepted_call_whose_request_was_sent_twice_is_accepted() -> None:
    """The id is TeleCMI's for one of the copies; the attempt says that there were more."""
    body = json.dumps({"code": 200, "request_id": ID}).encode()

    verdict = judge(Reply(200, body, resent=True), redact=REDACT, now=NOW)

    assert (verdict.outcome, verdict.request_id, verdict.resent) == (A, ID, True)
    assert verdict.detail == "accepted; the HTTP client sent the request more than once"


@pytest.mark.parametrize(
    ("secret", "request_id", "outcome"),
    [
        ("the-secret", "xx-the-secret-xx", U),
        ("the-secret", "the-secre", A),
        ("abcdefg", "xx-abcdefg-xx", A),
        ("abcdefgh", "xx-abcdefgh-xx", U),
    ],
)
@pytest.mark.parametrize("nested", [False, True])
def test_a_request_id_that_repeats_the_secret_is_no_id(
    secret: str, request_id: str, outcome: Outcome, nested: bool
) -> None:
    """A request_id is shown and logged; one with a secret of eight letters or more is not used."""
    body: dict[str, Any] = {"code": 200, "request_id": request_id}
    raw = json.dumps({"data": body, "code": 200} if nested else body).encode()

    verdict = judge(Reply(200, raw), redact=Redactor(Secret(secret)), now=NOW)

    assert verdict.outcome is outcome
    assert verdict.request_id == (request_id if outcome is A else None)
    if outcome is U:
        assert secret not in f"{verdict} {verdict.body}"


@pytest.mark.parametrize(
    ("status", "detail"),
    [
        (199, "HTTP 199"),
        (200, "HTTP 200 without a usable body"),
        (299, "HTTP 299 without a usable body"),
        (300, "HTTP 300"),
        (301, "redirected (HTTP 301), which is not followed"),
        (302, "redirected (HTTP 302), which is not followed"),
        (303, "redirected (HTTP 303), which is not followed"),
        (307, "redirected (HTTP 307), which is not followed"),
        (308, "redirected (HTTP 308), which is not followed"),
        (400, "the request was not understood"),
        (404, "HTTP 404 without TeleCMI's code: no such address, check base_url"),
        (429, "too many requests"),
        (502, "HTTP 502 from a gateway, not in TeleCMI's words"),
    ],
)
def test_the_detail_of_a_reply_without_words(status: int, detail: str) -> None:
    """A redirect, a 429 and a gateway's reply are described where TeleCMI says nothing."""
    assert judged(status).detail == detail


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"code": 422, "msg": "pcmo is missing"}, "pcmo is missing"),
        ({"code": 422, "message": " two\n lines "}, "two lines"),
        ({"code": 422, "error": "e"}, "e"),
        ({"code": 422, "msg": "\x1b[2Jred \x07\u202ealert"}, "[2Jred alert"),
        ({"code": 422, "msg": "the\u200b-secret"}, "•••"),
        ({"code": 422, "data": {"message": "nested"}}, "nested"),
        ({"code": 422, "msg": 7}, "a required property is missing"),
        ({"code": 418}, "HTTP 200, code 418"),
        ({"code": 500}, "HTTP 200, code 500"),
        ({"code": 422, "msg": "x" * 500}, "x" * 200),
        ({"code": 422, "msg": "919876543210 is bad"}, "••••••••3210 is bad"),
        ({"code": 422, "msg": " ", "message": "the second"}, "the second"),
        ({"code": 199}, "HTTP 200, code 199"),
        ({"code": 200}, "code 200 without a request_id (HTTP 200)"),
        ({"code": 299}, "code 299 without a request_id (HTTP 200)"),
        ({"code": 300}, "HTTP 200, code 300"),
        (
            {"code": 404, "request_id": ID},
            "a request_id came beside code 404 and HTTP status 200",
        ),
        ({}, "HTTP 200 without a usable body"),
    ],
)
def test_the_detail_gives_telecmis_words_or_the_meaning(body: Any, detail: str) -> None:
    """TeleCMI's message is kept, under whichever key it came; numbers are masked."""
    assert judged(200, body).detail == detail


def test_what_was_sent_does_not_come_back_in_a_verdict() -> None:
    """The secret and the call's numbers are removed from a reply that repeats them."""
    body = {
        "code": 422,
        "msg": "the-secret of 19170000001",
        "sent": {"to": 19170000001, "list": ["the-secret", 1, True, None, 2.5]},
        "as floats": [19170000001.0, -19170000001, 10**400],
        "the-secret": 1,
    }

    verdict = judged(200, body)
    page = judged(500, b"<p>the-secret 19170000001</p>")
    success = judged(200, {"code": 200, "request_id": ID, "echo": "the-secret"})

    assert verdict.body == {
        "code": 422,
        "msg": "••• of •••••••0001",
        "sent": {"to": "•••••••0001", "list": ["•••", 1, True, None, 2.5]},
        "as floats": ["•••••••0001", "••••••••0001", "•" * 11 + "0000"],
        "•••": 1,
    }
    assert page.body == "<p>••• •••••••0001</p>"
    assert success.body == {"code": 200, "request_id": ID, "echo": "•••"}


@given(
    st.integers(100, 599),
    st.one_of(
        st.binary(max_size=60),
        st.recursive(
            st.one_of(
                st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=9)
            ),
            lambda inner: st.one_of(
                st.lists(inner, max_size=3),
                st.dictionaries(
                    st.sampled_from(["code", "cmi_code", "data", "request_id", "msg", "x"]),
                    inner,
                    max_size=4,
                ),
            ),
            max_leaves=8,
        ),
    ),
    st.one_of(st.none(), st.text(max_size=9)),
)
def test_whatever_comes_back_is_judged(status: int, body: Any, retry_after: str | None) -> None:
    """No reply raises; an accepted call has a request_id, and other calls only when unknown."""
    verdict = judged(status, body, retry_after)

    assert (verdict.outcome is A) <= (verdict.request_id is not None)
    assert (verdict.request_id is not None) <= (verdict.outcome in {A, U})
    assert verdict.outcome is not Outcome.NOT_SENT


def verdicts(*outcomes: Outcome, code: int = 502) -> list[Verdict]:
    """Return verdicts with the given outcomes."""
    return [Verdict(outcome, outcome.value, status=code, code=code) for outcome in outcomes]


ATTEMPTS = (Attempt(number=1, outcome=U, detail="x"),)


@pytest.mark.parametrize(
    ("outcomes", "kind"),
    [
        ([R], errors.MissingProperty),
        ([S, R], errors.MissingProperty),
        ([S], errors.RateLimited),
        ([Outcome.NOT_SENT], errors.NotSent),
        ([R, Outcome.NOT_SENT], errors.MissingProperty),
        ([U], errors.CallOutcomeUnknown),
        ([U, R], errors.CallOutcomeUnknown),
        ([U, S], errors.CallOutcomeUnknown),
        ([U, Outcome.NOT_SENT], errors.CallOutcomeUnknown),
    ],
)
def test_one_unknown_attempt_makes_the_call_unknown(
    outcomes: list[Outcome], kind: type[errors.TelecmiError]
) -> None:
    """A later refusal does not undo an attempt that may have rung."""
    error = conclude(verdicts(*outcomes), ATTEMPTS, reference="tcm_x")

    assert type(error) is kind
    assert error.attempts == ATTEMPTS
    assert error.safe_to_redial is (kind is not errors.CallOutcomeUnknown)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (401, errors.AuthenticationError),
        (407, errors.AuthenticationError),
        (420, errors.AuthenticationError),
        (422, errors.MissingProperty),
        (501, errors.MissingProperty),
        (502, errors.MissingProperty),
        (404, errors.CallRejected),
        (302, errors.CallRejected),
    ],
)
def test_a_refusal_becomes_the_error_of_its_code(
    code: int, kind: type[errors.CallRejected]
) -> None:
    """Each documented code has its own error, with TeleCMI's full reply."""
    error = conclude(verdicts(R, code=code), (), reference="tcm_x")

    assert type(error) is kind
    assert isinstance(error, errors.CallRejected)
    assert (error.status, error.code, error.message) == (code, code, "rejected")


def test_a_reason_to_stop_gives_way_to_an_unknown_attempt() -> None:
    """A cancelled call is unknown after an unknown attempt, and cancelled after a refusal."""
    stopped = errors.CallCancelled("stop")
    late = errors.NotSent("late")

    assert conclude([], (), reference="r", stopped=stopped) is stopped
    assert conclude(verdicts(R), ATTEMPTS, reference="r", stopped=stopped) is stopped
    assert stopped.attempts == ATTEMPTS
    unknown = conclude(verdicts(U, R), (), reference="r", stopped=stopped)
    assert isinstance(unknown, errors.CallOutcomeUnknown)
    assert (unknown.reference, unknown.cause) == ("r", "unknown")
    assert conclude([], (), reference="r", stopped=late) is late
    refusal = conclude(verdicts(R), (), reference="r", stopped=late)
    assert isinstance(refusal, errors.MissingProperty)


def test_rate_limited_carries_the_pause_that_was_asked_for() -> None:
    """The error contains the pause that TeleCMI asked for."""
    verdict = judged(429, retry_after="120")

    error = conclude([verdict], (), reference="r")

    assert isinstance(error, errors.RateLimited)
    assert error.retry_after == 120.0


@pytest.mark.parametrize(
    "body",
    [
        json.dumps({"code": 420, "msg": "1-(" * 300_000}).encode(),
        json.dumps({"code": 420, "x": ["1-(" * 50] * 5_000}).encode(),
        b"1-(" * 300_000,
    ],
)
def test_a_hostile_body_is_kept_short(body: bytes) -> None:
    """Of a body of a megabyte, an error keeps at most a page of text, and fast."""
    verdict = judged(400, body)

    assert verdict.outcome is R
    assert len(str(verdict.body)) <= 2_000
    assert len(verdict.detail) <= 200


@pytest.mark.parametrize(("depth", "read"), [(31, True), (32, False)])
@pytest.mark.parametrize(("left", "right"), [("[", "]"), ('{"x":', "}")])
def test_a_reply_is_read_down_to_a_depth(depth: int, read: bool, left: str, right: str) -> None:
    """JSON that is nested deeper than any answer of TeleCMI's is not parsed."""
    deep = left * depth + "1" + right * depth
    verdict = judged(200, f'{{"code":420,"x":{deep}}}'.encode())

    assert verdict.outcome is (R if read else U)


@pytest.mark.parametrize("body", [None, {}, {"msg": " "}, {"data": {"message": 7}}])
def test_a_reply_without_a_message_has_an_empty_one(body: dict[str, Any] | None) -> None:
    """Where TeleCMI says nothing, the message is an empty text."""
    assert message_of(body) == ""


def test_a_refusal_without_a_status_has_zeros() -> None:
    """A refusal has numbers as its status and code, also if a reply had none."""
    error = conclude([Verdict(R, "no")], (), reference="r")

    assert isinstance(error, errors.CallRejected)
    assert (error.status, error.code) == (0, 0)


def test_the_last_unknown_attempt_is_the_cause() -> None:
    """With two unknown attempts, the later one is the cause."""
    first = Verdict(U, "first", status=502, code=502)
    last = Verdict(U, "last")

    error = conclude([first, last, *verdicts(R)], (), reference="r")

    assert isinstance(error, errors.CallOutcomeUnknown)
    assert error.cause == "last"


@pytest.mark.parametrize(
    "body", ["the-secret 19170000001".encode("utf-16"), b'["\\u0074he-secret"]', b"\\u0074he"]
)
def test_text_that_cannot_be_searched_is_not_kept(body: bytes) -> None:
    """Text in another encoding, or escaped, is dropped: a secret in it would not be found."""
    assert judged(400, body).body == ""


def test_a_broad_reply_is_read() -> None:
    """Many small values side by side do not count as deep."""
    assert judged(200, {"code": 420, "x": [{} for _ in range(99)]}).outcome is R


def test_a_502_with_a_code_is_described_by_it() -> None:
    """TeleCMI's own 502 is not described as a gateway's, and keeps the id that came beside it."""
    assert judged(502, {"code": 422}).detail == "a required property is missing"
    assert judged(502, {"code": 502, "request_id": ID}).request_id == ID


@pytest.mark.parametrize(("status", "outcome"), [(420, R), (500, U), (504, U)])
def test_a_retry_after_counts_beside_429_and_503_only(status: int, outcome: Outcome) -> None:
    """Beside any other status, a Retry-After asks for no pause."""
    verdict = judged(status, retry_after="7")

    assert (verdict.outcome, verdict.retry_after, verdict.permanent) == (outcome, None, False)


def test_a_verdict_shows_no_body() -> None:
    """The body of a reply is kept, and not shown in a repr."""
    verdict = judged(420, {"code": 420, "who": "a person"})

    assert verdict.body == {"code": 420, "who": "a person"}
    assert "a person" not in repr(verdict)


def test_large_bodies_are_kept_as_text_and_cut() -> None:
    """JSON of more than 64 KiB is kept as text, and 2,000 characters of any text."""
    empty = len('{"code":420,"x":""}')
    largest = b'{"code":420,"x":"' + b"y" * ((1 << 16) - empty) + b'"}'

    assert isinstance(judged(400, largest).body, dict)
    assert (
        judged(400, largest.replace(b"420", b"4200")).body
        == largest.decode().replace("420", "4200")[:2_000]
    )
    assert judged(400, b"x" * 3_000).body == "x" * 2_000


def test_the_last_attempt_that_was_not_sent_is_described() -> None:
    """Of several attempts that were not sent, the last one says why; a refusal has its body."""
    unsent = [Verdict(Outcome.NOT_SENT, "first"), Verdict(Outcome.NOT_SENT, "last")]
    refused = Verdict(R, "no", status=420, code=420, body={"code": 420})

    error, refusal = (conclude(made, (), reference="r") for made in (unsent, [refused]))

    assert str(error) == "the call was not sent (last); no phone rang"
    assert isinstance(refusal, errors.CallRejected)
    assert refusal.body == {"code": 420}


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (
            b"<h1>404 Not Found</h1>",
            "HTTP 404 without TeleCMI's code: no such address, check base_url",
        ),
        (
            b'{"detail": "Not Found"}',
            "HTTP 404 without TeleCMI's code: no such address, check base_url",
        ),
        (
            b'{"message": "no Route matched"}',
            "HTTP 404 without TeleCMI's code (no Route matched): no such address, check base_url",
        ),
        (
            b'{"code": 404}',
            "a media file name is invalid, or something the call names was not found",
        ),
        (b'{"code": "cmi-404", "msg": "no such file"}', "no such file"),
    ],
)
def test_a_wrong_address_is_no_wrong_file(body: bytes, detail: str) -> None:
    """Only a 404 with TeleCMI's code is about the call; any other one is about the address."""
    verdict = judge(Reply(404, body), redact=REDACT, now=NOW)

    assert (verdict.outcome, verdict.code, verdict.detail) == (Outcome.REJECTED, 404, detail)
