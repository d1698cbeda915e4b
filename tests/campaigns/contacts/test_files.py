"""Contacts files: each row is read correctly, or rejected with its row number and a reason."""

from __future__ import annotations

import csv
import io
import itertools
import json
import os
import re
import threading
from typing import TYPE_CHECKING, Any

import pytest
from call_strategies import numbers
from hypothesis import given
from hypothesis import strategies as st

from telecmi_async.campaigns.contacts.files import ContactsFile, Rejection, Survey, survey
from telecmi_async.campaigns.contacts.flaw import Flaw, Kind
from telecmi_async.campaigns.contacts.numbers import parse_country, read_number
from telecmi_async.errors import ConfigurationError
from telecmi_async.ledger.records import NewContact
from telecmi_async.pcmo.template import Template

if TYPE_CHECKING:
    from pathlib import Path


def opened(text: str | bytes, **settings: Any) -> ContactsFile:
    """Return a contacts file with this content."""
    data = text if isinstance(text, bytes) else text.encode()
    return ContactsFile(io.BytesIO(data), **settings)


def read(text: str | bytes, **settings: Any) -> list[tuple[int, object]]:
    """Return each row's number with the phone number, or the kind of rejection."""
    return [
        (row, item.kind if isinstance(item, Rejection) else item and item.number)
        for row, item in opened(text, **settings).rows()
    ]


# --- numbers ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "country", "number"),
    [
        ("919876543210", None, 919876543210),
        ("+91 98765-43210", None, 919876543210),
        ("(+91) 98765 43210", None, 919876543210),
        ("p:+919876543210", None, 919876543210),
        ("٩١٩٨٧٦٥٤٣٢١٠", None, 919876543210),
        ("4915112345678", "49", 4915112345678),
        ("+1 (917) 555-0123", None, 19175550123),
        ("+91\u00a098765\u2013 43210", None, 919876543210),
        ("\u202a+919876543210\u202c", None, 919876543210),
        ("tel:+91-98765-43210", None, 919876543210),
        ("'+919876543210", None, 919876543210),
        ('="919876543210"', None, 919876543210),
        ("00919876543210", None, 919876543210),
        ("00 44 20 7946 0958", None, 442079460958),
        ("9.1987654321E+11", "91", None),
        ("9.19876543210E+11", None, 919876543210),
        ("9,19876543210e+11", None, 919876543210),
        ("919876543210.0", None, 919876543210),
        ("+6565550123", None, 6565550123),
        ("+3906698123456", None, 3906698123456),
        # With a country, a national number belongs to it.
        ("9876543210", "91", 919876543210),
        ("09876543210", "91", 919876543210),
        ("98765 43210", "91", 919876543210),
        ("9.876543210E+09", "91", 919876543210),
        # Ten digits that begin with 91 are a mobile number of the 91… series.
        ("9198765432", "91", 919198765432),
        ("919876543210", "91", 919876543210),
        ("0091 98765 43210", "91", 919876543210),
        ("+1 917 555 0123", "91", 19175550123),
        ("(917) 555-0123", "1", 19175550123),
        ("1-917-555-0123", "1", 19175550123),
        ("020 7946 0958", "44", 442079460958),
        ("030 123456", "49", 4930123456),
        ("651 12345678", "62", 6265112345678),
    ],
)
def test_a_number_is_read_as_people_write_it(
    written: str, country: str | None, number: int | None
) -> None:
    """A phone number is read if the cell and the given country determine it."""
    found = read_number(written, country)

    assert found == number or (number is None and isinstance(found, Flaw))


@pytest.mark.parametrize(
    ("written", "country", "kind"),
    [
        ("", None, Kind.NO_NUMBER),
        (" \u200e ", "91", Kind.NO_NUMBER),
        ("n/a", None, Kind.NOT_A_NUMBER),
        ("Phone 1.", None, Kind.NOT_A_NUMBER),
        ("9" * 65, None, Kind.NOT_A_NUMBER),
        ("91987654321²", None, Kind.NOT_A_NUMBER),
        ("91+9876543210", None, Kind.NOT_A_NUMBER),
        ("919,876,543,210", None, Kind.NOT_A_NUMBER),
        ("919876543210 / 919876543211", None, Kind.NOT_A_NUMBER),
        ("919876543210, 919876543211", None, Kind.NOT_A_NUMBER),
        ("+44 (0)20 7946 0958", None, Kind.NOT_A_NUMBER),
        ("+1 117 555 0123", None, Kind.NOT_A_NUMBER),
        ("+49 030 123456", None, Kind.NOT_A_NUMBER),
        ("+91 0987654321", None, Kind.NOT_A_NUMBER),
        ("9.19E+11", None, Kind.DIGITS_LOST),
        ("9.19E+11", "91", Kind.DIGITS_LOST),
        ("9E+11", None, Kind.DIGITS_LOST),
        ("4.4207946095E+11", None, Kind.DIGITS_LOST),
        ("9.198765432E+11", None, Kind.DIGITS_LOST),
        ("919876543210.", None, Kind.DIGITS_LOST),
        ("919876543210.5", None, Kind.DIGITS_LOST),
        ("9876543210", None, Kind.NO_COUNTRY_CODE),
        ("09876543210", None, Kind.NO_COUNTRY_CODE),
        ("0 98765 43210", None, Kind.NO_COUNTRY_CODE),
        ("5550123", None, Kind.NO_COUNTRY_CODE),
        ("0917 555 0123", "1", Kind.NO_COUNTRY_CODE),
        ("06 6981 2345", "39", Kind.NO_COUNTRY_CODE),
        ("6212345678", "62", Kind.NO_COUNTRY_CODE),
        ("493012345678", "49", Kind.NO_COUNTRY_CODE),
        ("98765", "91", Kind.WRONG_LENGTH),
        ("14155550123", "91", Kind.WRONG_LENGTH),
        ("0098765", "91", Kind.WRONG_LENGTH),
        ("0123", "49", Kind.WRONG_LENGTH),
        ("+9198765432", None, Kind.WRONG_LENGTH),
        ("9198765432109", None, Kind.WRONG_LENGTH),
        ("+1917555012", None, Kind.WRONG_LENGTH),
        ("+4420794609581", None, Kind.WRONG_LENGTH),
        ("+12345", None, Kind.WRONG_LENGTH),
        ("+" + "4" * 16, None, Kind.WRONG_LENGTH),
        ("+0919876543210", None, Kind.UNKNOWN_COUNTRY),
        ("0009876543210", None, Kind.UNKNOWN_COUNTRY),
        ("+2101234567", None, Kind.UNKNOWN_COUNTRY),
        ("88112345678", None, Kind.UNKNOWN_COUNTRY),
        ("+91 98765 43210 ext. 12", None, Kind.EXTENSION),
        ("+919876543210x12", None, Kind.EXTENSION),
        ("+919876543210;ext=12", None, Kind.EXTENSION),
        ("+91 98765 43210 #12", None, Kind.EXTENSION),
    ],
)
def test_a_number_that_is_not_sure_is_rejected(
    written: str, country: str | None, kind: Kind
) -> None:
    """An ambiguous phone number is rejected, and the reason does not contain the number."""
    flaw = read_number(written, country)

    assert isinstance(flaw, Flaw)
    assert flaw.kind is kind
    assert not re.search(r"\d{5,}", flaw.reason)


def test_a_lost_number_says_what_to_do() -> None:
    """For Excel's 9.19E+11 the reason says to export the column again, as text."""
    flaw = read_number("9.19E+11")

    assert isinstance(flaw, Flaw)
    assert "format the column as text there, and export it again" in flaw.reason


@given(numbers.filter(lambda n: isinstance(read_number(f"+{n}"), int)))
def test_a_number_with_plus_is_itself(number: int) -> None:
    """A number with a plus is read as that number, whichever country is given."""
    for country in (None, "91", "1", "49"):
        assert read_number(f"+{number}", country) == number


@given(st.text() | st.text("0123456789+-() .eE,/x"), st.sampled_from([None, "91", "1", "39"]))
def test_a_cell_is_a_number_or_a_flaw(text: str, country: str | None) -> None:
    """Any cell gives an E.164 number that ends with the cell's digits, or a flaw."""
    found = read_number(text, country)

    if isinstance(found, Flaw):
        assert not re.search(r"\d{5,}", re.sub(r"U\+[0-9A-F]+", "", found.reason))
    else:
        digits = "".join(re.findall(r"[0-9]", re.sub(r"[eE].*|\.0+\s*\Z", "", text)))
        assert 10**6 <= found < 10**15
        assert str(found).endswith(digits.lstrip("0")[-5:])


@pytest.mark.parametrize("country", ["IN", "", "0", "1242", 999, True, 9.1, "91 "])
def test_a_country_is_a_calling_code(country: object) -> None:
    """Country names and codes that do not exist are rejected."""
    with pytest.raises(ConfigurationError, match='calling code such as "91"'):
        parse_country(country)


def test_a_country_may_be_written_in_three_ways() -> None:
    """A country is given as text, as an int, with a plus, or not at all."""
    assert {parse_country("91"), parse_country(91), parse_country("+91")} == {"91"}
    assert parse_country(None) is None


# --- files ------------------------------------------------------------------------------


def test_a_plain_file_is_read() -> None:
    """Each row becomes a contact with its columns, and row numbers are line numbers."""
    file = opened("Name,Phone,TZ\nAsha,+919876543210,Asia/Kolkata\n\n Bo ,19175550123,\n")

    assert list(file) == [
        NewContact(number=919876543210, columns={"Name": "Asha", "timezone": "Asia/Kolkata"}),
        NewContact(number=19175550123, columns={"Name": "Bo", "timezone": ""}),
    ]
    assert list(file.contacts()) == list(file)
    assert [row for row, _ in file.rows()] == [2, 3, 4]
    assert (file.format, file.delimiter, file.number_column) == ("csv", ",", "Phone")
    assert file.encoding == "utf-8"


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("said", [True, False])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_delimiters_and_line_ends_are_found_out(delimiter: str, said: bool, end: str) -> None:
    """Delimiter and line end are detected: comma, semicolon, tab, bar; LF, CRLF, CR."""
    rows = ["name,x, y;|number", '"Rao, A.; | \tB",,+919876543210', "Bo,z,19175550123"]
    text = end.join(row.replace(",", "\0") for row in ["name,note,number", "Bo,z,19175550123"])
    text = text.replace("\0", delimiter) + end
    text += delimiter.join(['"Rao, A.; | \tB"', "", "+919876543210"])
    file = opened(text, delimiter=delimiter if said else None)

    assert len(rows) == 3
    assert file.delimiter == delimiter
    assert [contact.number for contact in file.contacts()] == [19175550123, 919876543210]
    assert list(file.contacts())[1].columns["name"] == "Rao, A.; | \tB"


@pytest.mark.parametrize(
    ("text", "delimiter"),
    [
        ("number,name;title\n919876543210,A\n919876543211,B\n", ","),
        ('number;"a,b,c";"d,\ne"\n919876543210;x;y\n919876543211;f;g\n', ";"),
        ("number\n919876543210\n919876543211\n", ","),
    ],
)
def test_the_delimiter_is_the_one_that_the_first_row_has_most_of(
    text: str, delimiter: str
) -> None:
    """The most frequent delimiter outside quotes wins; the comma wins ties."""
    assert opened(text).delimiter == delimiter


def test_a_delimiter_that_was_mistaken_is_named() -> None:
    """The error names the detected delimiter and the argument that overrides it."""
    text = "Sum, EUR, net;phone\n1;919876543210\n"

    with pytest.raises(ConfigurationError, match=r'cells end at ",", or at delimiter=…'):
        opened(text)
    with pytest.raises(ConfigurationError, match=r'no column "phone".*, or at delimiter=…'):
        opened(text, column="phone")
    assert read(text, delimiter=";") == [(2, 919876543210)]


def test_excels_own_hint_is_followed() -> None:
    """A first line "sep=;" sets the delimiter and is not a row."""
    text = "sep=;\nname;number\nA,B;919876543210\n"

    assert read(text) == [(3, 919876543210)]
    assert opened('"sep=;"\n919876543210;x\n', delimiter=None).delimiter == ";"


@pytest.mark.parametrize(
    ("encoding", "mark", "given", "found"),
    [
        ("utf-8", b"", {}, "utf-8"),
        ("utf-8", b"\xef\xbb\xbf", {}, "utf-8-sig"),
        ("utf-16-le", b"\xff\xfe", {}, "utf-16"),
        ("utf-16-be", b"\xfe\xff", {}, "utf-16"),
        ("utf-16-le", b"", {"encoding": "utf-16-le"}, "utf-16-le"),
        ("cp1252", b"", {"encoding": "cp1252"}, "cp1252"),
        ("utf-8", b"\xef\xbb\xbf", {"encoding": "cp1252"}, "utf-8-sig"),
    ],
)
def test_a_mark_or_the_argument_tells_the_encoding(
    encoding: str, mark: bytes, given: dict[str, Any], found: str
) -> None:
    """The byte order mark or the argument sets the encoding, and text is decoded correctly."""
    text = "number,name\n919876543210,Zoë Müller\n"
    file = opened(mark + text.encode(encoding), **given)

    assert file.encoding == found
    assert next(file.contacts()).columns == {"name": "Zoë Müller"}


def test_a_wrong_byte_costs_its_row_and_says_which_encoding_to_try() -> None:
    """A row with invalid bytes is rejected with a hint, and the other rows are read."""
    text = "number,name\n919876543210,Zoë\n".encode() + b"919876543211,Zo\xeb\n9\xc3"

    rows = list(opened(text))

    assert isinstance(rows[0], NewContact)
    assert rows[1:] == [
        Rejection(row, Kind.ENCODING, "holds bytes that are not text in utf-8: name the file's "
                  "encoding, such as cp1252 or utf-16, or save it as UTF-8")
        for row in (3, 4)
    ]  # fmt: skip
    assert [each.columns["name"] for each in opened(text[:-3], encoding="cp1252").contacts()] == [
        "ZoÃ«", "Zoë",
    ]  # fmt: skip
    assert read(b"number,x\n919876543210,\x81\n", encoding="cp1252") == [(2, Kind.ENCODING)]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_a_mark_is_refused_with_a_hint(encoding: str) -> None:
    """UTF-16 without a byte order mark is detected by its zero bytes and rejected."""
    text = "number,name\n919876543210,A\n".encode(encoding)

    with pytest.raises(ConfigurationError, match=r"row 1, the first of the file.*utf-16"):
        opened(text)


@pytest.mark.parametrize(
    "encoding", ["utf8-with-bom", "base64", "undefined", "", "a\0b", None, 8]
)
def test_an_encoding_that_is_none_is_refused(encoding: object) -> None:
    """An invalid encoding name is rejected."""
    with pytest.raises(ConfigurationError, match=r'encoding must name .* "cp1252", not'):
        opened("number\n", encoding=encoding)


def test_a_codec_that_fails_on_its_own_terms_is_refused() -> None:
    """A codec that raises instead of replacing undecodable bytes is rejected."""
    with pytest.raises(ConfigurationError, match=r"^the file cannot be read as idna$"):
        opened("number\n", encoding="idna")


def test_zero_bytes_cost_one_row() -> None:
    """A row with a zero byte is rejected, and the next is read."""
    assert read("number,n\n91987\x006543210,a\n919876543211,b\n") == [
        (2, Kind.ENCODING), (3, 919876543211),
    ]  # fmt: skip


def test_empty_and_ragged_rows() -> None:
    """Empty rows are skipped; rows with too few or too many cells are rejected."""
    text = "number,a,b\n\n,,\n919876543210,x\n919876543211,x,y,z\n919876543212,x,y,,\n \n"

    assert read(text) == [
        (2, None), (3, None), (4, Kind.RAGGED), (5, Kind.RAGGED), (6, 919876543212), (7, None),
    ]  # fmt: skip


def test_a_number_is_dialled_once() -> None:
    """A duplicate number, however written, is rejected with the row of the first one."""
    file = opened("number\n+91 98765 43210\n919876543211\n00919876543210\n919876543211\n")

    assert [item for item in file if isinstance(item, Rejection)] == [
        Rejection(4, Kind.DUPLICATE, "holds the same number as row 2"),
        Rejection(5, Kind.DUPLICATE, "holds the same number as row 3"),
    ]


def test_a_time_zone_that_is_none_is_rejected() -> None:
    """A row with an invalid time zone is rejected."""
    text = "number,Time Zone\n919876543210,Asia/Kolkata\n919876543211,Kolkata\n919876543212,\n"

    assert read(text) == [
        (2, 919876543210), (3, Kind.TIME_ZONE), (4, 919876543212),
    ]  # fmt: skip


def test_a_row_that_the_flow_cannot_use_is_rejected() -> None:
    """Each row is checked with the call flow, and rejected if the flow cannot be filled."""
    template = Template([{"action": "play", "file_url": "{url}"}])

    rows = list(
        opened(
            "number,url\n919876543210,https://a.example/a.wav\n919876543211,a.wav\n",
            flow=template,
        )
    )

    assert isinstance(rows[0], NewContact)
    assert isinstance(rows[1], Rejection)
    assert rows[1].kind is Kind.FLOW
    assert rows[1].reason.startswith("cannot be dialled: pcmo[0].file_url: must be a full URL")


GREETING = Template([{"action": "speak", "text": "Hello {name} of {city|your town}"}])


@pytest.mark.parametrize(
    "cell",
    ["", "  ", "\u00a0", "\u200b\ufeff", '"\u3000"', "\u201c\u201d", "'", '""""""', "\u3164"],
)
def test_a_cell_without_text_is_rejected_where_the_flow_needs_it(cell: str) -> None:
    """An empty cell is rejected with its row, its column and what would be right."""
    text = f"number,name,city\n919876543210,Asha,\n919876543211,{cell},Pune\n"

    good, bad = list(opened(text, flow=GREETING))

    assert isinstance(good, NewContact)
    assert bad == Rejection(
        3,
        Kind.EMPTY_CELL,
        'cannot be dialled: pcmo[0].text: needs text in the column "name", which is empty: fill '
        "it in, or give the flow a default, such as {name|there}, or {name|} if it may be empty",
    )


def test_null_and_a_missing_key_are_empty_cells() -> None:
    """In JSON lines, null, an empty text and a missing key are no text; other values are."""
    rows: list[dict[str, object]] = [
        {"name": "Asha"}, {"name": None}, {"name": ""}, {}, {"name": 0}, {"name": False},
        {"nam": "Asha"},
    ]  # fmt: skip
    lines = (json.dumps({"to": f"91987654321{n}", **row}) for n, row in enumerate(rows))

    found = read("\n".join(lines), flow=GREETING)
    empty = [row for row, kind in found if kind is Kind.EMPTY_CELL]

    assert empty == [2, 3, 4, 7]


def test_a_second_row_may_have_what_the_first_lacks() -> None:
    """A number whose first row lacks a text is dialled with its second row."""
    text = "number,name\n919876543210,\n919876543210,Asha\n919876543210,Bo\n"

    assert read(text, flow=Template([{"action": "speak", "text": "{name}"}])) == [
        (2, Kind.EMPTY_CELL), (3, 919876543210), (4, Kind.DUPLICATE),
    ]  # fmt: skip


# --- quotation marks --------------------------------------------------------------------


def test_a_quoted_cell_may_hold_anything() -> None:
    """Delimiters, quotation marks and line ends inside a quoted cell are text."""
    text = 'number,note\n919876543210,"a ""b"", c\n\nd"\n"919876543211",x\n'
    file = opened(text)

    assert [contact.columns["note"] for contact in file.contacts()] == ['a "b", c\n\nd', "x"]
    assert [row for row, _ in file.rows()] == [2, 5]


def test_a_header_may_span_lines() -> None:
    """After a header with a line end in a quoted name, the next line is the first contact."""
    assert read('"Phone\nNumber",name\n919876543210,A\n') == [(3, 919876543210)]


def test_a_mark_inside_a_word_is_text() -> None:
    """A quotation mark inside an unquoted cell, as for inches, is text."""
    assert next(opened('number,size\n919876543210,5" pipe\n').contacts()).columns == {
        "size": '5" pipe'
    }


@pytest.mark.parametrize(
    "broken",
    ['"Asha', '"Asha"s', 'x"\n"y', '"As\n"ha', '"a"b"'],
)
def test_a_mark_that_is_not_closed_costs_its_own_row(broken: str) -> None:
    """An unclosed quotation mark rejects its own row, and the rows below are read."""
    text = f"number,name\n919876543210,{broken}\n919876543211,Bo\n919876543212,Cy\n"

    rows = read(text)

    assert rows[-2:] == [
        (len(text.splitlines()) - 1, 919876543211),
        (rows[-1][0], 919876543212),
    ]
    assert Kind.QUOTE in [what for _, what in rows] or broken.startswith("x")


def test_a_mark_that_closes_in_another_row_swallows_nobody() -> None:
    """Lines inside a quotation that look like rows are rows; rows with a mark are rejected."""
    text = (
        'number,name\n919876543210,"Asha\n919876543211,Bo\n919876543212,Cy"\n919876543213,D\n'
    )

    assert read(text) == [
        (2, Kind.QUOTE), (3, 919876543211), (4, Kind.QUOTE), (5, 919876543213),
    ]  # fmt: skip


def test_a_mark_is_not_looked_for_for_ever() -> None:
    """A quotation counts as unclosed after fifty lines or at an unreadable line."""
    rows = [f"9198765{n:05},x" for n in range(120)]

    text = "\n".join(["number,name", '919876543210,"a', *rows, 'x",y'])
    assert read(text)[0] == (2, Kind.QUOTE)
    assert len(read(text)) == 122
    assert [w for _, w in read('number,name\n919876543210,"a\nx\0\ny"\n')] == [
        Kind.QUOTE, Kind.ENCODING, Kind.QUOTE,
    ]  # fmt: skip


def test_a_line_without_end_costs_one_row() -> None:
    """A row longer than 64 KB is rejected."""
    text = "number,note\n919876543210," + "x" * 300_000 + "\n919876543211,y\n"

    assert read(text) == [(2, Kind.TOO_LONG), (3, 919876543211)]
    assert read("number,note\n919876543210," + "x" * 300_000) == [(2, Kind.TOO_LONG)]
    assert read("number,note\n919876543210," + "x" * (65_535 - 13) + "\n")[0][1] == 919876543210


# --- the number column ------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["number", "Phone", "MOBILE", "to", "MSISDN", "Telephone", "Phone No.", "mobile_number"],
)
def test_the_numbers_column_is_found_by_its_name(name: str) -> None:
    """The number column is found by usual names, in any case and punctuation."""
    assert opened(f"id,{name}\n1,919876543210\n").number_column == name


@pytest.mark.parametrize("column", ["work", " Work ", "WORK"])
def test_the_numbers_column_may_be_named(column: str) -> None:
    """Several possible number columns are an error unless the user names one, in any case."""
    text = "phone,Work\n919876543210,919876543211\n"

    assert read(text, column=column) == [(2, 919876543211)]
    with pytest.raises(ConfigurationError, match='columns "phone" or "mobile" may all hold'):
        opened("phone,mobile\n919876543210,919876543211\n")


@pytest.mark.parametrize(
    ("text", "settings", "message"),
    [
        (
            "name,age\nA,3\n",
            {},
            r"no column of the file is named number, phone.*known are \"name",
        ),
        ("name,phone\nA,3\n", {"column": "phnoe"}, r'no column "phnoe": did you mean "phone"'),
        ("a,A\n1,2\n", {"column": "á"}, r"no column"),
        ("919876543210,x\n", {"header": True}, r'known are "•+3210" or "x"'),
        ("919876543210,919876543211\n", {}, r"no header, and more than one column may hold"),
        ("A,3\nB,4\n", {"header": False}, r"no header, and no column holds"),
        ("", {}, r"the file holds no rows"),
        ("\n\n ,\n", {}, r"the file holds no rows"),
        ("num\0ber,x\n919876543210,y\n", {}, r"row 1, the first of the file, holds bytes"),
        ('"number,x\n919876543210,y\n', {}, r"row 1, the first of the file, has a quotation"),
        ("number\n", {"delimiter": ":"}, r'one of , ; | and the tab, not ":"'),
        ("number\n", {"format": "xlsx"}, r'format must be "csv" or "jsonl", not "xlsx"'),
        ("number\n", {"country": "IN"}, r"country calling code"),
        (b"PK\x03\x04...", {}, r'is a workbook: save it as "CSV UTF-8"'),
        (b"\xd0\xcf\x11\xe0\xa1", {}, r"is a workbook"),
        ('[{"number": 1}]', {}, r"is a JSON array: write one object a line"),
        ("number\n919876543210\n", {"format": "jsonl"}, r"holds no JSON objects"),
        ('{"name": "x"}', {}, r"no column of the file is named"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(
    text: str | bytes, settings: dict[str, Any], message: str
) -> None:
    """The error says how to fix the file, and contains no number in full."""
    with pytest.raises(ConfigurationError, match=message) as caught:
        opened(text, **settings)

    assert "919876543210" not in str(caught.value)


def test_a_file_without_header_is_read_from_its_first_row() -> None:
    """Without a header, columns are numbered from the first row on, with a note."""
    file = opened("Asha,+919876543210,3\nBo,19175550123,4\n")

    assert [row for row, _ in file.rows()] == [1, 2]
    assert file.number_column == "column_2"
    assert file.notes == ("it has no header: its columns are column_1 to column_3",)
    assert next(file.contacts()).columns == {"column_1": "Asha", "column_3": "3"}


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("9876543210\n9876543211\n", {"country": "91"}),
        ("9876543210\n9876543211\n", {}),
        ("9.19E+11\n9.19E+11\n", {}),
        ("919876543210,919876543211\n919876543212,919876543213\n", {"column": "column_1"}),
        ("Asha,mobile,919876543210\nBo,mobile,919876543211\n", {}),
        (",919876543210\n919876543211,x\n", {"column": "column_1"}),
        ("note,x\n919876543210,x\n919876543211,x\n", {"header": False}),
    ],
)
def test_rows_without_header_are_all_accounted_for(text: str, settings: dict[str, Any]) -> None:
    """A first row with an invalid number is not taken for a header."""
    assert len(read(text, **settings)) == len(text.splitlines())


def test_names_that_stand_there_twice_are_told_apart() -> None:
    """A duplicate column name gets a suffix, and an empty name gets its position."""
    file = opened("name,name,,phone,name_2\na,b,c,919876543210,d\n")

    assert file.columns == ("name", "name_2", "column_3", "phone", "name_2_2")
    assert file.notes == (
        'column "name" is there twice: the second is "name_2"',
        'column "name_2" is there twice: the second is "name_2_2"',
    )


# --- JSON -------------------------------------------------------------------------------


def test_objects_are_read_one_a_line() -> None:
    """JSON lines: values become text, and lines that are not JSON objects are rejected."""
    lines = [
        '{"mobile": 919876543210, "name": "Zoë", "vip": true, "new": false, "sum": 1.50}',
        "",
        '{"mobile": "+91 98765 43211", "list": [1, "a"], "none": null, "tz": "Asia/Kolkata"}',
        '{"mobile": 9.19E+11}',
        '{"name": "no number"}',
        '{"mobile": 1, "mobile": 2}',
        '["mobile"]',
        '{"mobile": ',
        '{"mobile": 919876543212, "name": "\\ud83d"}',
        '{"mobile": 919876543213, "name": "\\u00e9"}',
        "[" * 100_000,
        "{}",
        '{"mobile": "9198765\x0043212"}',
    ]

    file = opened("\n".join(lines))

    assert (file.format, file.number_column, file.delimiter) == ("jsonl", "mobile", None)
    assert [getattr(item, "kind", getattr(item, "number", None)) for _, item in file.rows()] == [
        919876543210, None, 919876543211, Kind.DIGITS_LOST, Kind.NO_NUMBER, Kind.JSON, Kind.JSON,
        Kind.JSON, Kind.ENCODING, 919876543213, Kind.TOO_LONG, None, Kind.ENCODING,
    ]  # fmt: skip
    assert [contact.columns for contact in itertools.islice(file.contacts(), 2)] == [
        {"name": "Zoë", "vip": "true", "new": "false", "sum": "1.50"},
        {"list": '["1", "a"]', "none": "", "timezone": "Asia/Kolkata"},
    ]


def test_deep_nesting_is_no_object() -> None:
    """A JSON row that would exhaust the stack is rejected."""
    deep = '{"number": ' + "[" * 30_000

    assert read('{"number": 919876543210}\n' + deep + "\n") == [
        (1, 919876543210), (2, Kind.JSON),
    ]  # fmt: skip


def test_the_first_line_tells_the_format() -> None:
    """The first line that is not blank decides whether the file is CSV or JSON lines."""
    assert opened('\n\n {"number": 1}').format == "jsonl"
    assert opened('\n{"number": 1}', column="number").format == "jsonl"
    with pytest.raises(ConfigurationError, match="first of the file"):
        opened("abc\0def\n")


# --- sources ----------------------------------------------------------------------------


class Pipe(io.RawIOBase):
    """A stream that can be read only once."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._data.readinto(buffer)


def test_a_path_an_open_file_and_a_pipe(tmp_path: Path) -> None:
    """A file is read from a path, an open file, or a pipe."""
    text = b"number\n919876543210\n"
    path = tmp_path / "contacts.csv"
    path.write_bytes(text)

    with path.open("rb") as file:
        found = [
            list(ContactsFile(given).contacts())  # type: ignore[arg-type]  # a raw pipe reads bytes
            for given in (path, str(path), file, Pipe(text))
        ]
        assert not file.closed

    assert found == [[NewContact(number=919876543210)]] * 4


def test_a_file_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    """An unreadable file raises this package's error, which does not name the folder."""
    gone = tmp_path / "contacts.csv"
    gone.write_text("number\n919876543210\n")
    file = ContactsFile(gone)
    gone.unlink()
    closed = io.BytesIO(b"number\n")
    closed.close()

    with pytest.raises(
        ConfigurationError, match=r"^contacts\.csv cannot be read: No such file"
    ):
        list(file)
    with pytest.raises(ConfigurationError, match=r"the file cannot be read: ValueError"):
        ContactsFile(NotYetClosed(closed))  # type: ignore[arg-type]  # has all that is used of a file
    with pytest.raises(ConfigurationError, match=r"cannot be read: Is a directory"):
        ContactsFile(tmp_path)
    with pytest.raises(ConfigurationError, match=r"open for bytes"):
        ContactsFile(io.StringIO("number\n"))  # type: ignore[arg-type]  # the rejected value


class Failing(io.BytesIO):
    """A file whose reads fail once `fails` is set."""

    fails = False

    def read(self, size: int | None = -1, /) -> bytes:
        if self.fails:
            raise OSError(5, "Input/output error", "/secret/folder")
        return super().read(size)

    read1 = read


def test_a_disk_that_fails_while_rows_are_read_says_so() -> None:
    """The error repeats the operating system's reason, without its paths."""
    disk = Failing(b"number\n919876543210\n")
    file = ContactsFile(disk)
    disk.fails = True

    with pytest.raises(
        ConfigurationError, match=r"^the file cannot be read: Input/output error$"
    ):
        list(file)


class NotYetClosed:
    """A wrapper without `closed`, whose file is closed already."""

    def __init__(self, file: io.BytesIO) -> None:
        self.read, self.seek = file.read, file.seek

    def seekable(self) -> bool:
        return True


def test_a_file_that_shrank_holds_fewer_rows(tmp_path: Path) -> None:
    """A file that shrinks between two readings gives no rows for what is gone."""
    path = tmp_path / "contacts.csv"
    path.write_text("\n\nnumber\n919876543210\n")
    file = ContactsFile(path)
    path.write_text("\n")

    assert list(file) == []


# --- whole files ------------------------------------------------------------------------


def test_a_survey_tells_what_a_file_holds() -> None:
    """A survey counts rows, duplicates, rejections with reasons, and countries."""
    file = opened(
        "phone,name\n919876543210,A\n9876543210,B\n+91 98765 43210,C\n\n19175550123,D\n"
        "9.19E+11,E\n9876543211,F\n"
    )

    found = survey(file, examples=2)

    assert found == Survey(
        rows=6,
        contacts=2,
        rejected={Kind.NO_COUNTRY_CODE: 2, Kind.DUPLICATE: 1, Kind.DIGITS_LOST: 1},
        empty=1,
        countries={"IN": 1, "US/CA": 1},
        examples=found.examples,
    )
    assert found.duplicates == 1
    assert [(each.row, each.kind) for each in found.examples] == [
        (3, Kind.NO_COUNTRY_CODE), (4, Kind.DUPLICATE),
    ]  # fmt: skip
    assert next(iter(found.rejected)) is Kind.NO_COUNTRY_CODE
    assert "rejected={'no_country_code': 2, 'duplicate': 1, 'digits_lost': 1}" in repr(found)


CELLS = st.one_of(
    st.sampled_from(
        ["919876543210", "9876543210", "+919876543211", "9.19E+11", "", '"', '"a', 'b"', "a\0",
         "\n", "\r", "\ufffd", "19175550123", "{", "[", '"x,y"', "Zoë", "number", "sep=;"]
    ),
    st.text(max_size=8),
)  # fmt: skip
SOUP = st.lists(st.lists(CELLS, max_size=4), max_size=12)


@given(
    SOUP, st.sampled_from(",;\t|"), st.sampled_from(["utf-8", "cp1252", "utf-16", "latin-1"]),
    st.sampled_from([None, "91"]), st.sampled_from([None, True, False]), st.booleans(),
    st.sampled_from(["utf-8", "cp1252", "utf-16", "utf-16-le"]),
)  # fmt: skip
def test_whatever_a_file_holds_its_rows_add_up(
    rows: list[list[str]], delimiter: str, encoding: str, country: str | None,
    header: bool | None, named: bool, said: str,
) -> None:  # fmt: skip
    """Any text file is rejected as a whole, or each of its rows is counted once."""
    text = "\n".join(delimiter.join(row) for row in rows)
    if named:
        text = f"number{delimiter}name\n{text}"
    try:
        file = opened(
            text.encode(encoding, "ignore"), country=country, header=header, encoding=said
        )
        seen = [row for row, _ in file.rows()]
        found = survey(file)
    except ConfigurationError:
        return

    assert found.rows == found.contacts + sum(found.rejected.values())
    assert found.rows + found.empty == len(seen)
    assert seen == sorted(set(seen))
    assert sum(found.countries.values()) == found.contacts
    assert all(not re.search(r"\d{7,}", each.reason) for each in found.examples)
    assert len({contact.number for contact in file.contacts()}) == found.contacts


@given(st.binary(max_size=400))
def test_any_bytes_are_rows_or_refused(data: bytes) -> None:
    """Any bytes give rows or this package's own error."""
    try:
        file = opened(b"number,x\n" + data)
    except ConfigurationError:
        return

    assert survey(file).rows == len(list(file))


@given(
    st.lists(
        st.tuples(
            numbers, st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]))
        ),
        unique_by=lambda row: row[0],
    ),
    st.sampled_from(",;\t|"),
)
def test_what_the_csv_module_writes_is_read_back(
    rows: list[tuple[int, str]], delimiter: str
) -> None:
    """Every valid contact that the csv module writes is read back."""
    rows = [
        (n, x) for n, x in rows if isinstance(read_number(f"+{n}"), int) and "\ufffd" not in x
    ]
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter)
    writer.writerow(["number", "text"])
    writer.writerows([f"+{number}", text] for number, text in rows)

    file = opened(out.getvalue(), delimiter=delimiter)

    assert [(c.number, c.columns["text"]) for c in file.contacts()] == [
        (number, text.strip()) for number, text in rows
    ]


@given(st.lists(st.tuples(numbers, st.text()), unique_by=lambda row: row[0]))
def test_what_the_json_module_writes_is_read_back(rows: list[tuple[int, str]]) -> None:
    """Every valid contact that the json module writes is read back."""
    rows = [
        (n, x)
        for n, x in rows
        if isinstance(read_number(f"+{n}"), int) and not re.search("[\0\ufffd\ud800-\udfff]", x)
    ]
    lines = ['{"number": ""}', *(json.dumps({"number": f"+{n}", "text": x}) for n, x in rows)]

    file = opened("\n".join(lines))

    assert [(c.number, c.columns["text"]) for c in file.contacts()] == rows


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no pipes with names")
def test_a_pipe_is_read_once_and_kept(tmp_path: Path) -> None:
    """A FIFO works like a file: its plan and its contacts are read from a copy."""
    pipe = tmp_path / "contacts.csv"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(b"number\n+19170000001\n",))
    writer.start()

    file = ContactsFile(pipe)
    writer.join()

    assert [contact.number for contact in file.contacts()] == [19170000001]
    assert [contact.number for contact in file.contacts()] == [19170000001]


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("-", r'"-" names no file: for standard input give /dev/stdin'),
        ("/dev/null", "null is a device or a terminal, not a file"),
        ("/dev/zero", "zero is a device or a terminal, not a file"),
        ("no\0file", "cannot be read: ValueError"),
    ],
)
def test_what_is_no_file_is_refused_in_a_sentence(path: str, why: str) -> None:
    """A device would be read without end, and "-" is a name for people."""
    with pytest.raises(ConfigurationError, match=why):
        ContactsFile(path)
