"""References: unguessable ids of calls, found in events in any spelling."""

from __future__ import annotations

import json
import pickle
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telecmi_async._internal.secrets import Secret
from telecmi_async._internal.telecmi import REFERENCE_FIELD
from telecmi_async.events import parse_event
from telecmi_async.events.reference import (
    References,
    carries_reference,
    new_reference,
    reference_in,
)

SECRET = "6f9619ff-8b86-d011-b42d"
OURS = References(Secret(SECRET))


def event_with(extra_params: object) -> object:
    """Return an event with these ``extra_params``."""
    return {"status": "out_started", "leg": "a", "extra_params": extra_params}


def test_a_reference_is_long_random_and_easy_to_find() -> None:
    """A thousand references are all different and match one pattern."""
    references = {new_reference() for _ in range(1_000)}

    assert len(references) == 1_000
    assert all(re.fullmatch("tcm_[a-z2-7]{26}", reference) for reference in references)


@pytest.mark.parametrize(
    "spell",
    [
        lambda params: params,
        json.dumps,
        lambda params: json.dumps(json.dumps(params)),
        lambda params: "{ " + ", ".join(f"{k}={v}" for k, v in params.items()) + " }",
        lambda params: "{" + ", ".join(f"'{k}': '{v}'" for k, v in params.items()) + "}",
    ],
    ids=["object", "JSON", "JSON twice", "name=value", "quotes of Python"],
)
def test_a_reference_is_found_however_it_comes_back(spell: object) -> None:
    """A reference is found in ``extra_params`` that are JSON, and in those that are not."""
    reference = new_reference()
    assert callable(spell)

    params = {"order": "42", REFERENCE_FIELD: OURS.sign(reference)}
    event = parse_event(event_with(spell(params)))  # type: ignore[arg-type]  # a plain dict

    assert OURS.find(event) == reference


@pytest.mark.parametrize("letter", ["t", "c", "m", "_", "a"])
def test_a_reference_is_found_though_its_letters_are_escaped(letter: str) -> None:
    """A reference that JSON in a text spells with escapes is found, too."""
    reference = new_reference()
    text = json.dumps({REFERENCE_FIELD: OURS.sign(reference)})
    escaped = text.replace(letter, f"\\u{ord(letter):04x}")

    event = parse_event(event_with(escaped))  # type: ignore[arg-type]  # a plain dict

    assert carries_reference(event)
    assert OURS.find(event) == reference


@given(st.sampled_from(["{}", '"{}"', '{{"a": "{}"}}', "{{{}}}"]), st.text(max_size=9))
def test_what_carries_no_reference_has_none(form: str, text: str) -> None:
    """No event of which a reference could be found is taken for one without."""
    for params in (form.format(text), form.format(OURS.sign(new_reference()))):
        event = parse_event(event_with(params))  # type: ignore[arg-type]  # a plain dict
        assert carries_reference(event) or reference_in(event) is None


@pytest.mark.parametrize(
    "params", [None, {}, {REFERENCE_FIELD: 1}, {REFERENCE_FIELD: ""}, "{}", "{tcm_x}", [1]]
)
def test_an_event_without_a_reference_has_none(params: object) -> None:
    """An event without a reference is not an error."""
    assert OURS.find(parse_event(event_with(params))) is None  # type: ignore[arg-type]  # a plain dict


def test_a_reference_that_another_account_signed_is_not_found() -> None:
    """The signature depends on the account's secret."""
    others = References(Secret("another-secret"))
    event = parse_event(event_with({REFERENCE_FIELD: others.sign(new_reference())}))  # type: ignore[arg-type]  # a plain dict

    assert OURS.find(event) is None


@given(st.integers(0, 56), st.sampled_from("abcdefghijklmnopqrstuvwxyz234567_."))
def test_a_changed_letter_breaks_the_code(place: int, letter: str) -> None:
    """Any changed letter makes a signed reference invalid."""
    reference = new_reference()
    signed = OURS.sign(reference)
    forged = signed[:place] + letter + signed[place + 1 :]
    event = parse_event(event_with({REFERENCE_FIELD: forged}))  # type: ignore[arg-type]  # a plain dict

    assert OURS.find(event) == (reference if forged == signed else None)


def test_the_right_one_of_several_is_found() -> None:
    """A forged reference in front does not hide the valid one."""
    reference = new_reference()
    text = f"{{a: {new_reference()}.{'a' * 26}, b: {OURS.sign(reference)}}}"

    assert OURS.find(parse_event(event_with(text))) == reference  # type: ignore[arg-type]  # a plain dict


def test_the_same_secret_signs_the_same_everywhere() -> None:
    """A restarted process accepts the references that it signed before."""
    reference = new_reference()

    assert References(Secret(SECRET)).sign(reference) == OURS.sign(reference)


def test_nothing_shows_the_key() -> None:
    """Neither repr nor pickle reveals the signing key."""
    assert repr(OURS) == "References()"
    with pytest.raises(TypeError):
        pickle.dumps(OURS)


def test_a_signed_reference_is_the_same_in_every_version() -> None:
    """The field and the code are those of calls that are under way during an upgrade."""
    signed = "tcm_abcdefghijklmnopqrstuvwxyz.zwl5uqqvhlkupkljlxrrukqciq"
    event = parse_event(event_with({"tcm_reference": signed}))  # type: ignore[arg-type]  # a plain dict

    assert OURS.sign("tcm_abcdefghijklmnopqrstuvwxyz") == signed
    assert OURS.find(event) == reference_in(event) == "tcm_abcdefghijklmnopqrstuvwxyz"


@pytest.mark.parametrize(
    "params",
    [
        None,
        {},
        {"order": "42"},
        {"order": OURS.sign(new_reference())},
        "{order=42}",
        "tcm_",
        "\\",
    ],
)
def test_parameters_alone_carry_no_reference(params: object) -> None:
    """An event with parameters of the user's own carries no reference."""
    event = parse_event(event_with(params))  # type: ignore[arg-type]  # a plain dict

    assert carries_reference(event) is False
    assert reference_in(event) is None


def test_a_text_that_is_json_carries_none_in_another_parameter() -> None:
    """A reference counts in its own parameter only, also if a text with the prefix is JSON."""
    text = json.dumps({"order": OURS.sign(new_reference())})
    event = parse_event(event_with(text))  # type: ignore[arg-type]  # a plain dict

    assert carries_reference(event) is False


def test_references_are_equal_if_their_secrets_are() -> None:
    """Services of one account share their references, and those of two accounts do not."""
    again, other = References(Secret(SECRET)), References(Secret("another-secret"))

    assert again == OURS
    assert hash(again) == hash(OURS)
    assert other != OURS
    assert hash(other) != hash(OURS)
    assert OURS != SECRET
