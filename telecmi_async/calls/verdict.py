"""Verdict: how one HTTP reply is judged, and what all attempts of a call come to.

"May a phone have rung?" has three answers: yes (TeleCMI gave a ``request_id``), no, and
*unknown*. This module decides between them. It is pure: no network, no clock, no randomness.

The wire returns either a `Reply` or a `Failure`. `judge` turns it into a `Verdict` by these
rules; the first match wins:

====================================================================  =========
what came back                                                        outcome
====================================================================  =========
failure before a byte of the POST left                                NOT_SENT
failure after that (cut, reset, time-out, garbage)                    UNKNOWN
2xx and a success code and a ``request_id``                           ACCEPTED
anything else, and the HTTP client sent the request more than once    UNKNOWN
a ``request_id`` beside anything else                                 UNKNOWN
redirect (never followed)                                             REJECTED
code 429; code 503 with a readable ``Retry-After``                    SLOW_DOWN
code 502 in TeleCMI's own body                                        REJECTED
502 of a gateway (its body holds no code)                             UNKNOWN
code 501, or 400 to 498 except 408                                    REJECTED
everything else                                                       UNKNOWN
====================================================================  =========

*Code* is the code in the body (``cmi_code`` or ``code``; 200, "200" and "cmi-200" are all
documented) and, where the body has none, the HTTP status: TeleCMI's users report refusals
both as an HTTP status and as a code inside a 200. A 502 needs the distinction. TeleCMI
documents it for a missing property, while a gateway sends the same status whether the server
behind it placed the call, then died, or was never reached. A 502 whose body has no code but
may be TeleCMI's (broken JSON, or an object with ``status`` or ``data``) is of unknown outcome,
and its `Verdict` has no code, so that it is not repeated.

408 and 499 are a server's and a gateway's words for "it took too long", of a request that may
have been passed on.

Some HTTP clients send a request again by themselves (retries, digest authentication). Each copy
may place a call. So a refusal of the last copy says nothing about the earlier ones, and an accepted
call may be a duplicate.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, TypeAlias, cast

import attrs

from telecmi_async import errors
from telecmi_async._internal.json_text import decode_json
from telecmi_async._internal.messages import http_words
from telecmi_async._internal.telecmi import (
    AUTHENTICATION_CODES,
    CODE_MEANINGS,
    MISSING_PROPERTY_CODES,
)
from telecmi_async.attempt import Attempt, Outcome
from telecmi_async.wire.reply import Failure, Reply

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from telecmi_async._internal.secrets import Redactor

_CODE = re.compile(r"(?:cmi-)?(\d{3})")
_WORD = re.compile(r"[!-~]{1,256}")
_TELECMIS_KEYS = frozenset({"cmi_code", "code", "data", "request_id", "status"})
# Of a request that may have been passed on.
_TOOK_TOO_LONG = frozenset({408, 499})
_RESENT = "the HTTP client sent the request more than once"
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_DEEPEST = 32
_LONGEST_MESSAGE = 200
_LONGEST_TEXT = 2_000
_LARGEST_BODY = 1 << 16


@attrs.frozen
class Verdict:
    """What `judge` decided.

    Args:
        outcome: The outcome of the attempt.
        detail: Why, in a few words; phone numbers masked, the secret removed.
        status: The HTTP status, if a reply came.
        code: The code in the body, else the HTTP status; None if no reply came, or if it may
            be TeleCMI's or a gateway's.
        body: The reply's JSON object, else its text.
        request_id: TeleCMI's id for the call, if the reply held one.
        retry_after: The pause TeleCMI asked for, in seconds, not capped.
        permanent: Whether the same request would fail again: it could not even be built.
        resent: Whether the HTTP client sent the request more than once, by itself.
        unreached: Whether it failed on its way, such as for lack of a connection, and did not leave.
    """

    outcome: Outcome
    detail: str
    status: int | None = None
    code: int | None = None
    body: Mapping[str, object] | str = attrs.field(default="", repr=False)
    request_id: str | None = None
    retry_after: float | None = None
    permanent: bool = False
    resent: bool = False
    unreached: bool = False


_Body: TypeAlias = "Mapping[str, object] | None"


def judge(answer: Reply | Failure, *, redact: Redactor, now: datetime) -> Verdict:
    """Return the verdict on one attempt; ``now`` is for a ``Retry-After`` that is a date."""
    verdict = (
        _judge_failure(answer, redact)
        if isinstance(answer, Failure)
        else _judge_reply(answer, redact, now)
    )
    if not answer.resent:
        return verdict
    accepted = verdict.outcome is Outcome.ACCEPTED
    return attrs.evolve(
        verdict,
        outcome=Outcome.ACCEPTED if accepted else Outcome.UNKNOWN,
        detail=f"{verdict.detail}; {_RESENT}",
        retry_after=None,
        permanent=False,
        resent=True,
        unreached=False,
    )


def _judge_failure(failure: Failure, redact: Redactor) -> Verdict:
    left = failure.may_have_left
    return Verdict(
        Outcome.UNKNOWN if left else Outcome.NOT_SENT,
        redact.text(failure.reason),
        permanent=failure.permanent and not left,
        unreached=failure.unreached and not left,
    )


def _judge_reply(answer: Reply, redact: Redactor, now: datetime) -> Verdict:
    body = _decode(answer.body)
    code = body_code(body)
    request_id = _request_id(body)
    echoed = redact.may_be_in(answer.body)
    if request_id is not None and echoed and redact.repeated_in(request_id):
        request_id = None
    retry_after = _retry_after(answer.retry_after, now)
    outcome = _outcome(answer.status, code, request_id, retry_after)
    named = _names_a_call(body)
    if outcome is not Outcome.ACCEPTED and named:
        outcome = Outcome.UNKNOWN
    # A 502 with an unusable id is not a gateway's.
    unusable = code == 502 and named and request_id is None
    vague = unusable or (code is None and _is_vague(answer, body))
    if outcome is Outcome.ACCEPTED and body is not None:
        return Verdict(
            outcome,
            "accepted",
            status=answer.status,
            code=code or answer.status,
            body=redact.reply(body) if echoed else body,
            request_id=request_id,
        )
    return Verdict(
        outcome,
        # Cut last: half a secret would not be found.
        redact.text(_detail(answer.status, code, body, request_id))[:_LONGEST_MESSAGE],
        status=answer.status,
        code=None if vague else answer.status if code is None else code,
        body=_kept(answer.body, body, redact),
        request_id=request_id,
        retry_after=retry_after if outcome is Outcome.SLOW_DOWN else None,
    )


def _outcome(
    status: int, code: int | None, request_id: str | None, retry_after: float | None
) -> Outcome:
    """Apply the table at the top of this module to a complete reply."""
    if request_id is not None:
        placed = 200 <= status < 300 and (code is None or 200 <= code < 300)
        return Outcome.ACCEPTED if placed else Outcome.UNKNOWN
    if status in _REDIRECTS:
        return Outcome.REJECTED
    said = status if code is None else code
    if said == 429 or (said == 503 and retry_after is not None):
        return Outcome.SLOW_DOWN
    refused = (400 <= said < 500 and said not in _TOOK_TOO_LONG) or said == 501 or code == 502
    return Outcome.REJECTED if refused else Outcome.UNKNOWN


def _object(value: object) -> _Body:
    """Return a decoded value if it is a JSON object."""
    return cast("Mapping[str, object]", value) if isinstance(value, dict) else None


def _decode(raw: bytes) -> _Body:
    """Return a reply's JSON object; None if it has none, or one that is nested too deeply."""
    value = decode_json(raw)
    few = raw.count(b"[") + raw.count(b"{") <= _DEEPEST
    return _object(value) if few or _is_shallow(value) else None


def _is_shallow(value: object) -> bool:
    """Return whether a decoded value has at most `_DEEPEST` levels."""
    level = [value]
    for _ in range(_DEEPEST):
        inner: list[object] = []
        for item in level:
            if isinstance(item, dict):
                inner += cast("dict[str, object]", item).values()
            elif isinstance(item, list):
                inner += cast("list[object]", item)
        if not inner:
            return True
        level = inner
    return False


def body_code(body: _Body) -> int | None:
    """Return the code in a body: 200, "200" and "cmi-200" are all 200."""
    if body is None:
        return None
    for key in ("cmi_code", "code"):
        value = body.get(key)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        if isinstance(value, str) and (found := _CODE.fullmatch(value.strip().lower())):
            return int(found[1])
    return None


def _request_id(body: _Body) -> str | None:
    """Return the ``request_id`` at the top of a body or under its ``data``.

    TeleCMI's have 43 letters and digits. Anything but a printable word is ignored.
    """
    if body is None:
        return None
    for level in (body, _object(body.get("data")) or {}):
        value = level.get("request_id")
        if isinstance(value, str) and _WORD.fullmatch(value):
            return value
    return None


def _names_a_call(body: _Body) -> bool:
    """Return whether a reply has any ``request_id``, usable or not."""
    levels = (body or {}, _object((body or {}).get("data")) or {})
    return any(level.get("request_id") for level in levels)


def _is_vague(answer: Reply, body: _Body) -> bool:
    """Return whether a 502 without a code may be TeleCMI's rather than a gateway's."""
    if answer.status != 502:
        return False
    if body is None:
        return answer.body.lstrip().startswith((b"{", b"["))
    return not _TELECMIS_KEYS.isdisjoint(body)


def _retry_after(value: str | None, now: datetime) -> float | None:
    """Return the seconds a ``Retry-After`` header asks for (RFC 9110, section 10.2.3).

    It is a number of seconds or an HTTP date; anything else is ignored.
    """
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = max((parsedate_to_datetime(value) - now).total_seconds(), 0.0)
        except (ValueError, TypeError, OverflowError):
            return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def _detail(status: int, code: int | None, body: _Body, request_id: str | None) -> str:
    """Describe a reply, in TeleCMI's words if it has any."""
    said = message_of(body)
    if request_id is not None:
        said = f"a request_id came beside code {code} and HTTP status {status}"
    elif status in _REDIRECTS:
        said = f"redirected (HTTP {status}), which is not followed"
    elif code is None and 200 <= status < 300:
        said = f"HTTP {status} without a usable body"
    elif code is not None and 200 <= code < 300:
        said = f"code {code} without a request_id (HTTP {status})"
    elif status == 404 and body_code(body) is None:
        words = f" ({said})" if said else ""
        said = f"HTTP 404 without TeleCMI's code{words}: no such address, check base_url"
    elif code is None and status == 502:
        said = "HTTP 502 from a gateway, not in TeleCMI's words"
    elif not said:
        said = CODE_MEANINGS.get(code or status, http_words(status, code))
    return said


def message_of(body: _Body) -> str:
    """Return the message in a reply; TeleCMI's users found it under several keys.

    Control characters, which a terminal would obey, are left out.
    """
    if body is None:
        return ""
    nested = (_object(body.get("data")) or {}).get("message")
    for value in (body.get("msg"), body.get("message"), body.get("error"), nested):
        if isinstance(value, str) and value.strip():
            return "".join(filter(str.isprintable, " ".join(value.split())))
    return ""


def _kept(raw: bytes, body: _Body, redact: Redactor) -> Mapping[str, object] | str:
    """Return what an error keeps of a reply's body."""
    if body is not None and len(raw) <= _LARGEST_BODY:
        return redact.body(body)
    if b"\0" in raw or b"\\u" in raw:
        return ""  # in another encoding or escaped, where the secret could not be found
    return redact.text(raw.decode("utf-8", "replace"))[:_LONGEST_TEXT]


def conclude(
    verdicts: Sequence[Verdict],
    attempts: tuple[Attempt, ...],
    *,
    reference: str,
    stopped: errors.CallNotPlaced | None = None,
) -> errors.TelecmiError:
    """Return the error of a call whose last attempt was not accepted.

    One attempt of unknown outcome makes the whole call unknown, even if TeleCMI refused a later
    one: the first may have rung the phone. Otherwise TeleCMI's last refusal counts, if there was
    one, and then ``stopped``: why no further attempt was made.
    """
    unknown = [verdict for verdict in verdicts if verdict.outcome is Outcome.UNKNOWN]
    if unknown:
        cause = unknown[-1].detail
        return errors.CallOutcomeUnknown(
            f"the request left, but its outcome is unknown ({cause}): a phone may have rung",
            reference=reference,
            cause=cause,
            attempts=attempts,
        )
    answers = [v for v in verdicts if v.outcome in {Outcome.REJECTED, Outcome.SLOW_DOWN}]
    if answers and not isinstance(stopped, errors.CallCancelled):
        return _refusal(answers[-1], attempts)
    if stopped is not None:
        stopped.attempts = attempts
        return stopped
    last = verdicts[-1]
    what = "request could not be built" if last.permanent else "call was not sent"
    error = errors.NotSent(f"the {what} ({last.detail}); no phone rang", attempts=attempts)
    error.unreached = last.detail if last.unreached else ""
    error.late = not (last.unreached or last.permanent)
    return error


def _refusal(verdict: Verdict, attempts: tuple[Attempt, ...]) -> errors.CallRejected:
    kind: type[errors.CallRejected] = errors.CallRejected
    if verdict.outcome is Outcome.SLOW_DOWN:
        kind = errors.RateLimited
    elif verdict.code in AUTHENTICATION_CODES:
        kind = errors.AuthenticationError
    elif verdict.code in MISSING_PROPERTY_CODES:
        kind = errors.MissingProperty
    error = kind(
        verdict.detail,
        status=verdict.status or 0,
        code=verdict.code or 0,
        body=verdict.body,
        attempts=attempts,
    )
    if isinstance(error, errors.RateLimited):
        error.retry_after = verdict.retry_after
    return error
