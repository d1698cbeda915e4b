"""Phone numbers, how they are masked, and the region rule."""

from __future__ import annotations

import re

import pytest
from call_strategies import numbers
from hypothesis import given
from hypothesis import strategies as st

from telecmi_async._internal.messages import mask, mask_in
from telecmi_async.errors import InvalidCall
from telecmi_async.phone import Region, parse_number, parse_region, route


@pytest.mark.parametrize(
    "written",
    [
        19170000001,
        "19170000001",
        "+19170000001",
        "+1 (917) 000-0001",
        " 1.917.000.0001\n",
        "1\u00a0917\u00a0000\u00a00001",
    ],
)
def test_a_number_is_taken_as_people_write_it(written: int | str) -> None:
    """Plus, blanks, dashes, dots and brackets are dropped, and the result is an int."""
    assert parse_number(written) == 19170000001


@given(numbers)
def test_a_number_survives_writing_and_reading(number: int) -> None:
    """Any number that fits E.164 comes back unchanged, from an int and from text."""
    assert parse_number(number) == parse_number(f"+{number}") == number


@pytest.mark.parametrize("written", ["917000001.0", "19170000001.", "19170000001.5 "])
def test_a_float_in_disguise_is_refused(written: str) -> None:
    """A decimal point before the last digit is refused: it would dial ten times the number."""
    with pytest.raises(InvalidCall, match="decimal point") as caught:
        parse_number(written, "to")

    assert caught.value.path == "to"


@given(st.text() | st.integers() | st.floats() | st.none() | st.binary())
def test_nothing_else_escapes(value: object) -> None:
    """Any value either is a number of 7 to 15 digits or raises InvalidCall."""
    try:
        number = parse_number(value)
    except InvalidCall:
        return

    assert 10**6 <= number < 10**15


@given(st.text("0123456789 ()-+.x", min_size=7))
def test_an_error_never_holds_the_number(text: str) -> None:
    """No message about a number repeats more than four of its digits in a row."""
    said = ""
    try:
        parse_number(text)
    except InvalidCall as error:
        said = str(error)

    assert not re.search(r"\d{5}", said)


@pytest.mark.parametrize(
    ("number", "masked"),
    [(19170000001, "•••••••0001"), ("12345", "•2345"), ("1234", "••••"), ("", "")],
)
def test_a_mask_leaves_the_last_four_digits(number: int | str, masked: str) -> None:
    """Up to four characters are hidden completely; of longer ones the last four are shown."""
    assert mask(number) == masked


def test_a_mask_is_short() -> None:
    """A mask is never longer than a phone number."""
    assert mask("9" * 10**6) == "•" * 11 + "9999"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("call 19170000001 now", "call •••••••0001 now"),
        ("call +1 (917) 000-0001.", "call +•••••••0001."),
        ("call 1.917.000.0001 or", "call •••••••0001 or"),
        ("call 1\u00a0917\u00a0000\u00a00001", "call •••••••0001"),
        ("http://127.0.0.1:8787", "http://127.0.0.1:8787"),
        ("tel19170000001x", "tel•••••••0001x"),
        ("wait 20, 300 s", "wait 20, 300 s"),
        ("1edceb4c-4e2c-402d-81b4-1c2f6fca442d", "1edceb4c-4e2c-402d-81b4-1c2f6fca442d"),
    ],
)
def test_numbers_in_text_are_masked(text: str, masked: str) -> None:
    """Numbers of seven digits and more are masked; shorter ones and UUIDs stay."""
    assert mask_in(text) == masked


@pytest.mark.parametrize(
    ("to", "region"),
    [
        (919800000000, Region.INDIA),
        (91980000000, Region.GLOBAL),
        (9198000000001, Region.GLOBAL),
        (19170000001, Region.GLOBAL),
        (917000000001, Region.INDIA),
    ],
)
def test_auto_routes_by_the_callee(to: int, region: Region) -> None:
    """Only numbers of 91 and ten digits go to the Indian endpoint."""
    assert route(Region.AUTO, to) is region


@pytest.mark.parametrize("region", [Region.INDIA, Region.GLOBAL])
def test_a_named_region_decides(region: Region) -> None:
    """A region that is named is used for every number."""
    assert route(region, 919800000000) is route(region, 19170000001) is region


@pytest.mark.parametrize(
    ("value", "repeated"),
    [
        ("mars", '"mars"'),
        ("L'Inde", '"L\'Inde"'),
        ('"india"', r'"\"india\""'),
        ("indi\u00e9", '"indi\u00e9"'),
        ("india\u200b\n", r'"india\u200b\n"'),
        ("\ud800", r'"\ud800"'),
        ("+1\u00a0917\u00a0000\u00a00001", '"+•••••••0001"'),
        ("1.917.000.0001", '"•••••••0001"'),
        ("x" * 41, f'"{"x" * 40}"…'),
        (19170000001, "•••••••0001"),
        (2**200, "an enormous int"),
        (1.5, "1.5"),
        (None, "None"),
        ([19170000001], "a value of type list"),
    ],
)
def test_an_error_repeats_what_it_was_given(value: object, repeated: str) -> None:
    """Text is quoted, unprintable characters are escaped, and numbers are masked."""
    with pytest.raises(InvalidCall) as caught:
        parse_region(value)

    assert caught.value.message.endswith(f", not {repeated}")


@pytest.mark.parametrize("region", list(Region))
def test_a_region_is_read_by_name(region: Region) -> None:
    """A region is accepted as a member or as its name."""
    assert parse_region(str(region)) is parse_region(region) is region
