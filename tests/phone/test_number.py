"""Phone numbers, how they are masked, and the region rule."""

from __future__ import annotations

import re
from typing import Any, SupportsIndex

import pytest
from call_strategies import numbers
from hypothesis import given
from hypothesis import strategies as st

from telecmi_async._internal.messages import mask, mask_in
from telecmi_async.errors import InvalidCall
from telecmi_async.phone import Region, parse_number, parse_numbers, parse_region, route
from telecmi_async.phone.spelling import NumberFlaw, Spelled, spelled


class Whole:
    """An integer of another library, such as numpy's."""

    def __init__(self, value: object) -> None:
        self.value = value

    def __index__(self) -> Any:
        if isinstance(self.value, Exception):
            raise self.value
        return self.value


READ = [
    (19170000001, 19170000001),
    (Whole(919876543210), 919876543210),
    ("19170000001", 19170000001),
    ("+1 (917) 000-0001", 19170000001),
    (" 1.917.000.0001\n", 19170000001),
    ("1\u00a0917\u00a0000\u00a00001", 19170000001),
    ("(+91) 98765 43210", 919876543210),
    ("0021810 0000000", 218100000000),
    ("+49 30 1234567890", 49301234567890),
    ("+91" + " " * 51 + "9876543210", 919876543210),
    ("+91 98765\n43210", 919876543210),
    ("0091 98765 43210", 919876543210),
    ("++919876543210", 919876543210),
    ("+00 91 98765 43210", 919876543210),
    # Prefixes that name what follows.
    ("tel:+91-98765-43210", 919876543210),
    ("TEL://+919876543210", 919876543210),
    ("p:+919876543210", 919876543210),
    ("Phone: 919876543210", 919876543210),
    *(
        (f"{label}:+919876543210", 919876543210)
        for label in ("callto", "sms", "whatsapp", "ph", "mobile", "mob", "cell")
    ),
    ("tel\uff1a+919876543210", 919876543210),
    # Marks that come along when a number is copied.
    ("\u202a+919876543210\u202c", 919876543210),
    ("\ufeff+91\u200b98765\u00ad43210\u200e", 919876543210),
    ("+91\u201198765\u201343210", 919876543210),
    ("+91\u221298765\uff0d43210", 919876543210),
    ("+9\ufe0f19876543210", 919876543210),
    ("\u2003+91\u202f98765\u300043210", 919876543210),
    ("1\uff0e917\uff0e000\uff0e0001", 19170000001),
    *((f"+91{blank}98765{blank}43210", 919876543210) for blank in "\t\n\r\v\f .-"),
    ("\u200b" * 500 + "919876543210", 919876543210),
    # Six digits are a part of a number, and no second one.
    ("5550123 555012", 5550123555012),
    # Digits of other scripts.
    ("\uff0b\uff19\uff11\uff08\uff19\uff18\uff17\uff16\uff15\uff09 43210", 919876543210),
    ("\u0669\u0661\u0669\u0668\u0667\u0666\u0665\u0664\u0663\u0662\u0661\u0660", 919876543210),
    ("+\u096f\u0967 98765 43210", 919876543210),
    # What spreadsheets do, as long as no digit is lost.
    ("'+919876543210", 919876543210),
    ("\u2018919876543210", 919876543210),
    ("\u2019919876543210", 919876543210),
    ("\uff07919876543210", 919876543210),
    ('="+919876543210"', 919876543210),
    ('"919876543210"', 919876543210),
    ("919876543210.0", 919876543210),
    ("+919876543210.00", 919876543210),
    ("9.19876543210E+11", 919876543210),
    ("9,19876543210e11", 919876543210),
    ("2.901234E+6", 2901234),
    ("2901234.0", 2901234),
    ("491234567890123.0", 491234567890123),
    # A 0 after the country code is right where numbers have one.
    ("+39 06 698 12345", 390669812345),
    ("+225 01 23 45 67 89", 2250123456789),
    ("+378 0549 123456", 3780549123456),
    ("+33 1.42.68.53.00", 33142685300),
]


@pytest.mark.parametrize(("written", "number"), READ)
def test_a_number_is_read_as_people_write_it(written: SupportsIndex | str, number: int) -> None:
    """Blanks, dashes, dots, brackets, invisible marks and what spreadsheets add are dropped."""
    assert parse_number(written) == number
    assert type(parse_number(written)) is int


@given(numbers)
def test_a_number_survives_writing_and_reading(number: int) -> None:
    """A number of any country comes back unchanged, from integers and from text."""
    assert parse_number(number) == parse_number(f"+{number}") == number
    assert parse_number(Whole(number)) == parse_number(f"00{number}") == number


REFUSED = [
    # Integers, and what is none.
    (None, "must be a phone number, not None"),
    (True, "must be a phone number, not True"),
    (919876543210.0, "not a float.*store the column as text"),
    (b"919876543210", r"\(int or str\), not bytes"),
    ([919876543210], r"\(int or str\), not list"),
    (Whole("919876543210"), r"\(int or str\), not Whole"),
    (Whole(ValueError("919876543210")), r"\(int or str\), not Whole$"),
    (Whole(RuntimeError()), r"\(int or str\), not Whole$"),
    (0, "must be a positive number"),
    (-919876543210, "must be a positive number"),
    (10**15, "more than 15 digits"),
    # Nothing, or too much.
    ("", "the number is missing"),
    (" \u200b", "the number is missing"),
    ("+", "the number is missing"),
    ("-", "the number is missing"),
    ("9" * 65, "too long"),
    ("91987" + " " * 60 + "6543210", "too long"),
    ("9" * 64, "has more than 15 digits"),
    ("\u200b" * 501 + "919876543210", "too long"),
    # Lengths and codes.
    ("5", "has 1 digit with its country code"),
    (1, "has 1 digit with its country code"),
    ("91987", "has 5 digits with its country code, and must have 7 to 15"),
    ("+" + "4" * 16, "has more than 15 digits"),
    (9876543210, r"has 8 digits after \+98, and its numbers have 10"),
    ("9876543210", r"has 8 digits after \+98"),
    ("+91 98765 4321", r"has 9 digits after \+91, and its numbers have 10: correct it"),
    ("+91 98765 432101", r"has 11 digits after \+91"),
    ("+44 20 7946 09581", r"has 11 digits after \+44, and its numbers have 9 or 10:"),
    ("+62 812 34", "its numbers have 7 to 12"),
    ("+210 1234567", "begins with a code that no country has.*missing"),
    (8821234567, "begins with a code that no country has.*satellite"),
    ("+1 117 555 0123", r"is not a number of \+1, .* as in \+1 212 555 0123"),
    ("+1 212 155 0123", r"is not a number of \+1"),
    # Zeros.
    ("09876543210", "starts with 0 instead of its country code: write it with"),
    ("011 91 98765 43210", r"\(\+ replaces 011 and other prefixes, too\)"),
    ("+0919876543210", "has a country code that starts with 0"),
    ("000919876543210", "has a country code that starts with 0"),
    ("+910123456789", r"has a 0 after its country code \+91.*omit it"),
    ("+44 (0)20 7946 0958", r'holds "\(0\)": write it as it is dialled from abroad'),
    ("+91 \uff08 0 \uff09 98765 43210", r'holds "\(0\)"'),
    ("+44 (020) 7946 0958", r"has a 0 after its country code \+44"),
    # More than a number.
    ("919876543210 / 919876543211", "holds more than one number"),
    ("919876543210, 919876543211", "holds more than one number"),
    ("919876543210\n919876543211", "holds more than one number"),
    *(
        (f"9876543210{mark}9876543211", "holds more than one number")
        for mark in ("/", " and ", ";", "|", "&", " OR ", "\uff0f")
    ),
    ("+919876543210 +919876543211", "holds more than one number"),
    ("9876543210 or 9876543211", "holds more than one number"),
    ("5550123 5550124", "holds more than one number"),
    ("9999999/9999998", "holds more than one number"),
    ("+919876543210 and 919876543211", "holds more than one number"),
    ("+919876543210 or 919876543211", "holds more than one number"),
    ("+919876543210\n919876543211\u200b", "holds more than one number"),
    ("+919876543210 ext. 12", "has an extension.*omit it"),
    *(
        (f"+919876543210{word}12", "has an extension")
        for word in (
            "x",
            " ext ",
            " extension: ",
            " int.",
            ", poste ",
            "; ramal ",
            " anexo=",
            " DW ",
            "*",
            ";",
            "#",
        )
    ),
    ("+919876543210, 123456", "has an extension"),
    ("+919876543210, 1", "has an extension"),
    ("+91 98765 43210 #12", "has an extension"),
    ("+919876543210,,12#", "has an extension"),
    ("tel:+1-201-555-0123;ext=5", "has an extension"),
    ("tel:7042;phone-context=example.com", "has an extension"),
    # What spreadsheets do to digits.
    ("9.19E+11", r"a spreadsheet shortened the number .*and export it again"),
    ("9E+11", "a spreadsheet shortened the number"),
    ("9.198765432E+11", "a spreadsheet shortened the number"),
    ("9E+100", "a spreadsheet shortened the number"),
    ("9E+1000", '"E" is not a digit'),
    ("919876.0", "ends in a decimal point"),
    ("4912345678901234.0", "ends in a decimal point"),
    ("919876543210.", "ends in a decimal point"),
    ("919876543210.5", "ends in a decimal point"),
    ("+91 98765 43210.00", "ends in a decimal point"),
    ("919,876,543,210", '"," is not a digit'),
    # Other characters are named; invisible ones by their code points.
    ("98765O3210", '"O" is not a digit'),
    ("\u0430919876543210", r'"\u0430" U\+0430 is not a digit'),
    ("+919876543210\u00b2", r"U\+00B2 is not a digit"),
    ("+91\x0098765", r": U\+0000 is not a digit"),
    ("\u202e919876543210", r": U\+202E is not a digit"),
    ("9198765\U000e00314321", r": U\+E0031 is not a digit"),
    ("+91\ud80098765", r": U\+D800 is not a digit"),
    ("91+9876543210", r"a \+ may be at its beginning only"),
    ("00+919876543210", r"a \+ may be at its beginning only"),
    ("-919876543210", "begins with a dash or minus sign"),
    ("\u2013 +91 98765 43210", "begins with a dash or minus sign"),
    ("\u2022\u2022\u2022\u2022\u2022\u2022\u2022\u20223210", "is masked"),
    ("+91 98765 XXXXX", "is masked"),
    ("+9198765*****", "is masked"),
    ("+91 98765 432XX", "is masked"),
    ("+91987654321**", "is masked"),
    ("+91 98765 4321x", '"x" is not a digit'),
    ("+91987654321*", r'"\*" is not a digit'),
    ("+919876543210,", '"," is not a digit'),
    ("98765, 1234567", '"," is not a digit'),
    ("~919876543210", '"~" is not a digit'),
    ("n/a", '"n" is not a digit'),
]


@pytest.mark.parametrize(("written", "reason"), REFUSED)
def test_what_is_not_one_number_is_refused_with_what_is_right(
    written: object, reason: str
) -> None:
    """The error names the field, the fault and the remedy, and does not repeat the number."""
    with pytest.raises(InvalidCall, match=f"^to: .*{reason}") as caught:
        parse_number(written, "to")

    assert caught.value.path == "to"
    message = re.sub(r"U\+[0-9A-F]+", "", caught.value.message)
    assert not re.search(r"[0-9]{5}", message)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("", "no_number"), ("9" * 65, "not_a_number"), ("9.19E+11", "digits_lost"),
        ("919876543210.5", "digits_lost"), ("-919876543210", "not_a_number"),
        ("+91 98765 XXXXX", "not_a_number"), ("919876543210/919876543211", "not_a_number"),
        ("+919876543210 ext. 12", "extension"), ("+44 (0)20 7946 0958", "not_a_number"),
        ("98765O3210", "not_a_number"), ("91+9876543210", "not_a_number"),
    ],
)  # fmt: skip
def test_each_flaw_of_the_spelling_has_its_kind(written: str, problem: str) -> None:
    """Reports of contacts files count numbers by what is wrong with them."""
    found = spelled(written)

    assert isinstance(found, NumberFlaw)
    assert found.problem == problem


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("919876543210", Spelled("919876543210", complete=False)),
        ("91 98765 43210", Spelled("919876543210", complete=False)),
        ("+919876543210", Spelled("919876543210", complete=True)),
        ("0091 9876543210", Spelled("919876543210", complete=True)),
        ("+00919876543210", Spelled("919876543210", complete=True)),
        ("09876543210", Spelled("09876543210", complete=False)),
        ("0", Spelled("0", complete=False)),
    ],
)
def test_a_plus_or_two_zeros_say_that_the_country_code_is_there(
    written: str, read: Spelled
) -> None:
    """Other digits may lack their country code; a single 0 stays."""
    assert spelled(written) == read


@pytest.mark.parametrize(
    "number", [10**5000, "9" * 10**6, "\u0661" * 10**6], ids=["int", "text", "arabic"]
)
def test_an_enormous_number_is_refused_at_once(number: SupportsIndex | str) -> None:
    """Python limits the digits that it converts, and no work grows with the number."""
    with pytest.raises(InvalidCall, match=r"more than 15 digits|too long"):
        parse_number(number)


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


def test_one_of_many_numbers_is_named() -> None:
    """The error about one number of many has its place, and those before it are read."""
    read = parse_numbers(["+91 98765 43210", 19175550123, "9.19E+11"])

    assert [next(read), next(read)] == [919876543210, 19175550123]
    with pytest.raises(InvalidCall, match=r"^numbers\[2\]: a spreadsheet"):
        next(read)


@pytest.mark.parametrize("values", ["919876543210", b"91", 919876543210, None])
def test_one_number_is_not_many(values: object) -> None:
    """A single number where many are due is refused, not taken apart."""
    with pytest.raises(
        InvalidCall, match=r"^numbers: must be a list or iterable of numbers, not"
    ):
        list(parse_numbers(values))


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
        ("call 1\u2011917\u2013000\u20110001.", "call •••••••0001."),
        ("call 1\u200b \u202c917\ufeff0000001", "call •••••••0001"),
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
        (447911123456, Region.GLOBAL),
        (861012345678, Region.GLOBAL),
        (190000000000, Region.GLOBAL),
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


def test_an_error_names_the_field() -> None:
    """Without another name, a number's field is "number", and a list's place is added."""
    with pytest.raises(InvalidCall) as caught:
        parse_number("none")
    assert caught.value.path == "number"
    with pytest.raises(InvalidCall) as caught:
        list(parse_numbers([919876543210, "none"]))
    assert caught.value.path == "numbers[1]"
    with pytest.raises(InvalidCall) as caught:
        parse_region("moon")
    assert caught.value.path == "region"


def test_regions_have_the_names_that_people_write() -> None:
    """The three names stand in environments, on command lines and in ledgers."""
    assert [region.value for region in Region] == ["auto", "india", "global"]
