"""Credentials: the app id, the secret, and what keeps the secret hidden."""

from __future__ import annotations

import copy
import json
import pickle
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telecmi_async._internal.messages import mask
from telecmi_async._internal.secrets import Redactor, RequestBody, Secret
from telecmi_async.errors import ConfigurationError
from telecmi_async.wire.credentials import Credentials

if TYPE_CHECKING:
    from collections.abc import Callable

VALUE = "s3cret/of-mine"
TO, FROM = 19170000001, 19170000000
REDACT = Redactor(Secret(VALUE))
V3_AGENT = f"{'1a2b3c4d'}-5e6f-4711-8899-00aabbccddee"

printable = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=4)


# --- arguments ----------------------------------------------------------------------------


@pytest.mark.parametrize("app_id", [2222226, "2222226", " 2222226\n"])
def test_an_app_id_is_a_number_or_its_digits(app_id: Any) -> None:
    """An app id is sent as an int, also when it was given as text."""
    credentials = Credentials(app_id, VALUE)

    assert credentials.app_id == 2222226
    assert type(credentials.app_id) is int


@pytest.mark.parametrize(
    "app_id", [None, True, 0, -1, 1.5, "", "abc", "22.5", "٢٢٢٢", b"1", [1], "-5", "1_000"]
)
def test_an_app_id_that_cannot_be_right_is_refused(app_id: Any) -> None:
    """The error names the argument and shows a valid app id."""
    with pytest.raises(ConfigurationError, match=r"app_id must be .* such as 2222226"):
        Credentials(app_id, VALUE)


@pytest.mark.parametrize("app_id", [V3_AGENT, V3_AGENT.upper(), f" {V3_AGENT} "])
def test_an_agent_id_of_v3_is_told_apart(app_id: str) -> None:
    """An agent id of version 3, the most likely mix-up, gets an error of its own."""
    with pytest.raises(ConfigurationError, match="agent id of TeleCMI's v3 API"):
        Credentials(app_id, VALUE)


@pytest.mark.parametrize("secret", [None, "", "  ", 5, b"bytes", ["x"], True])
def test_a_secret_that_is_none_is_refused(secret: Any) -> None:
    """A secret must be text that is not blank."""
    with pytest.raises(ConfigurationError, match="secret must be the secret"):
        Credentials(2222226, secret)


@pytest.mark.parametrize("secret", ["a b", "a\n", "\ta", "é", "a\x00", "secret: x", "a\u200b"])
def test_a_secret_with_more_than_was_meant_is_refused(secret: str) -> None:
    """Blanks and other characters that a paste adds are refused with a clear error."""
    with pytest.raises(ConfigurationError, match="was more than the secret pasted"):
        Credentials(2222226, secret)


@given(printable)
def test_any_other_secret_is_taken_as_it_is(value: str) -> None:
    """A secret may have any other form, and a `Secret` is accepted like its value."""
    from_text = Credentials(2222226, value)
    from_secret = Credentials(2222226, Secret(value))

    assert from_text.secret.reveal() == from_secret.secret.reveal() == value


def test_credentials_are_frozen() -> None:
    """Credentials cannot be changed while calls are in flight."""
    credentials = Credentials(2222226, VALUE)
    with pytest.raises(AttributeError):
        credentials.app_id = 1  # type: ignore[misc]  # this is what must fail


# --- hidden values ------------------------------------------------------------------------

VEILED = [Secret(VALUE), RequestBody(VALUE.encode()), Credentials(1, VALUE)]


@pytest.mark.parametrize("thing", VEILED, ids=lambda thing: type(thing).__name__)
def test_a_veiled_value_is_not_printed(thing: object) -> None:
    """Neither repr nor text shows a hidden value, alone or inside other values."""
    views = [repr(thing), str(thing), f"{thing}", f"{thing!r}", f"{thing!s}", "%s" % thing]  # noqa: UP031  # an old log line's way
    views += [repr([thing]), repr({"k": thing})]

    assert [view for view in views if VALUE in view or "•••" not in view] == []


@pytest.mark.parametrize("thing", VEILED, ids=lambda thing: type(thing).__name__)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_veiled_value_is_not_pickled(thing: object, protocol: int) -> None:
    """Pickling is refused, because a reader of the file would see the secret."""
    with pytest.raises(TypeError, match="is not pickled: it would show its value"):
        pickle.dumps(thing, protocol)


@pytest.mark.parametrize("thing", VEILED, ids=lambda thing: type(thing).__name__)
def test_a_veiled_value_is_not_deeply_copied(thing: object) -> None:
    """Deep copies are refused as pickles are."""
    with pytest.raises(TypeError, match="is not pickled"):
        copy.deepcopy(thing)


@pytest.mark.parametrize("thing", VEILED[:2], ids=lambda thing: type(thing).__name__)
def test_a_veiled_value_has_nothing_to_list(thing: object) -> None:
    """`vars`, JSON and iteration, which tools try on unknown values, find nothing."""
    assert VALUE not in repr(getattr(thing, "__dict__", {}))
    ways: list[Callable[[Any], object]] = [json.dumps, iter, len]
    for way in ways:
        with pytest.raises(TypeError):
            way(thing)


def test_a_veiled_value_can_be_used() -> None:
    """`reveal()` is the only way to read the value."""
    assert Secret(VALUE).reveal() == Secret(Secret(VALUE)).reveal() == VALUE
    assert RequestBody(b"{}").reveal() == b"{}"


# --- redaction ----------------------------------------------------------------------------


def test_text_is_redacted() -> None:
    """The secret is removed, and the call's own numbers keep their last four digits."""
    text = f"{VALUE} from {FROM} to {TO}, again {VALUE}{TO}"

    assert REDACT.text(text) == "••• from •••••••0000 to •••••••0001, again ••••••••••0001"


def test_text_without_them_stays() -> None:
    """Text without the secret and the numbers does not change."""
    assert REDACT.text("nothing 1917 to s3cret see") == "nothing 1917 to s3cret see"


@pytest.mark.parametrize(
    ("value", "redacted"),
    [
        (VALUE, "•••"),
        (TO, "•••••••0001"),
        (str(FROM), "•••••••0000"),
        (5, 5),
        (1.5, 1.5),
        (True, True),
        (None, None),
        ([VALUE, [TO, 1]], ["•••", ["•••••••0001", 1]]),
        ({VALUE: {"to": TO}}, {"•••": {"to": "•••••••0001"}}),
        ({f"x{TO}": None}, {"x•••••••0001": None}),
        ([], []),
        ({}, {}),
    ],
)
def test_json_is_redacted(value: object, redacted: object) -> None:
    """Values and keys are redacted at every depth; all else keeps its value and type."""
    found = REDACT.body(value)

    assert found == redacted
    assert type(found) is type(redacted)


def test_redacting_changes_no_original() -> None:
    """Redacting does not change the reply that was passed in."""
    body = {"a": [VALUE, {"b": TO}]}
    REDACT.body(body)

    assert body == {"a": [VALUE, {"b": TO}]}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
    | st.sampled_from([VALUE, f"<{VALUE}>", TO, FROM, str(TO), f"+{FROM}"]),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.just(VALUE), inner),
    max_leaves=30,
)  # fmt: skip


@given(json_values)
def test_no_json_keeps_what_is_to_be_hidden(value: object) -> None:
    """A redacted JSON value contains no part of the secret or the numbers."""
    text = json.dumps(REDACT.body(value), ensure_ascii=False)

    assert VALUE not in text
    assert str(TO) not in text
    assert str(FROM) not in text


@given(printable, st.text(), st.text())
def test_no_text_keeps_the_secret(secret: str, before: str, after: str) -> None:
    """The secret is removed in any form and at any position."""
    redacted = Redactor(Secret(secret)).text(f"{before}{secret}{after}{mask(TO)}")

    assert secret not in redacted


@pytest.mark.parametrize("secret", ["s", "abc"])
def test_a_made_up_secret_of_a_few_letters_hides_nothing(secret: str) -> None:
    """A very short secret is not redacted, because it occurs in many words by chance."""
    redact = Redactor(Secret(secret))

    assert redact.text("a request_id of abcs") == "a request_id of abcs"
    assert not redact.repeated_in("abcs")
