"""One reading: what one entrance takes all take, as the same number, and likewise refusals."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any, get_args

import pytest
from call_strategies import numbers
from campaign_scene import FIRST, S, scene
from hypothesis import given
from hypothesis import strategies as st

from telecmi_async import CallRequest, CallService, Hangup
from telecmi_async.campaigns import CampaignSettings
from telecmi_async.campaigns.contacts import ContactsFile, Rejection
from telecmi_async.campaigns.contacts.flaw import Kind
from telecmi_async.errors import ConfigurationError, InvalidCall
from telecmi_async.ledger import NewContact, SqliteLedger
from telecmi_async.pcmo import Bridge, Pstn, Template, parse_pcmo
from telecmi_async.phone import parse_number, parse_numbers
from telecmi_async.phone.spelling import NumberProblem
from telecmi_async.simulator import Callee, Fault, Simulator

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FLOW = [Hangup()]
BRIDGE = [{"action": "bridge", "connect": [{"type": "pstn", "number": "{agent}"}]}]
TEMPLATE = Template(BRIDGE)


def service_from(value: Any) -> int | None:
    """Return the caller id that a service reads."""
    return CallService(2222226, "secret", from_=value)._settings.from_


def bridged(action: Any) -> int:
    """Return the number that a bridge rings."""
    number: int = action.connect[0].number
    return number


ENTRANCES: dict[str, Callable[[Any], int | None]] = {
    "make_call(to)": lambda value: CallRequest(to=value, pcmo=FLOW).to,
    "make_call(from_)": lambda value: CallRequest(to=FIRST, from_=value, pcmo=FLOW).from_,
    "a mapping": lambda value: CallRequest.parse({"to": value, "pcmo": FLOW}).to,
    "Pstn": lambda value: Pstn(value).number,
    "Bridge": lambda value: bridged(Bridge([value])),
    "Bridge(from_)": lambda value: Bridge([FIRST], from_=value).from_,
    "JSON": lambda value: bridged(
        parse_pcmo([BRIDGE[0] | {"connect": [{"type": "pstn", "number": value}]}])[0]
    ),
    "NewContact": lambda value: NewContact(number=value).number,
    "CampaignSettings(from_)": lambda value: CampaignSettings(flow=FLOW, from_=value).from_,
    "CallService(from_)": service_from,
    "many": lambda value: next(parse_numbers(iter([value]))),
    "Fault": lambda value: Fault("reset", to=value).to,
}
# These take text only.
TEXT_ENTRANCES: dict[str, Callable[[str], int | None]] = {
    "a template's column": lambda text: bridged(TEMPLATE.fill({"agent": text})[0]),
}


class Whole:
    """An integer of another library."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __repr__(self) -> str:
        return f"Whole({self.value})"

    def __index__(self) -> int:
        return self.value


def read(entrance: Callable[[Any], int | None], value: object) -> int | str:
    """Return the number that an entrance reads, or the reason without the field's name."""
    try:
        number = entrance(value)
    except (InvalidCall, ConfigurationError) as error:
        return str(error).partition(": ")[2].removesuffix(' (filled from the column "agent")')
    assert number is not None
    return number


def in_a_file(text: str) -> int | Rejection:
    """Return what a contacts file makes of a cell."""
    lines = ['{"number": "first"}', json.dumps({"number": text})]
    row = list(ContactsFile(io.BytesIO("\n".join(lines).encode())))[1]
    return row if isinstance(row, Rejection) else row.number


# Latin, full-width, Arabic-Indic and Devanagari digits.
_SCRIPTS = ["0123456789", "".join(map(chr, range(0xFF10, 0xFF1A))), "٠١٢٣٤٥٦٧٨٩", "०१२३४५६७८९"]
_BETWEEN = st.sampled_from(
    [
        "",
        " ",
        "-",
        " - ",
        "\u00a0",
        "\u2011",
        "\u2013",
        "\u200b",
        "\ufeff",
        "\u00ad",
        "\t",
        ") ",
    ]
)


@st.composite
def spellings(draw: st.DrawFn) -> tuple[int, str]:
    """Return a number, and a text as people and programs write it."""
    number = draw(numbers)
    digits = str(number).translate(str.maketrans(_SCRIPTS[0], draw(st.sampled_from(_SCRIPTS))))
    groups: list[str] = []
    while digits:
        size = draw(st.integers(1, 5))
        groups += [digits[:size], draw(_BETWEEN)]
        digits = digits[size:]
    before = draw(
        st.sampled_from(
            [
                "+",
                "00",
                "tel:+",
                "TEL:00",
                "p:+",
                "'+",
                "++",
                "+ ",
                "\u202a+",
                "\uff0b",
                " (+",
                "\ufeff+",
            ]
        )
    )
    after = draw(st.sampled_from(["", " ", "\u202c", "\n", "\u00a0"]))
    return number, before + "".join(groups[:-1]) + after


@given(spellings())
def test_a_spelling_is_the_same_number_at_every_entrance(spelling: tuple[int, str]) -> None:
    """However a number is written, each entrance reads that number."""
    number, text = spelling

    assert {name: read(each, text) for name, each in ENTRANCES.items()} == dict.fromkeys(
        ENTRANCES, number
    )
    assert {read(each, text) for each in TEXT_ENTRANCES.values()} == {number}
    assert in_a_file(text) == number


_TEXTS = st.one_of(
    st.text(st.sampled_from("0123456789+-() .,;/xeE\u200b\u202e\u2011٣"), max_size=24),
    st.text(st.characters(codec="utf-8", exclude_characters="\0\ufffd"), max_size=12),
    spellings().map(lambda spelling: spelling[1]),
    numbers.map(str),
    st.from_regex(r"(\+|00|0|)[1-9][0-9]{5,14}(\.0| x[0-9]{2}| \(0\))?", fullmatch=True),
)


@given(_TEXTS)
def test_what_one_entrance_refuses_all_refuse_alike(text: str) -> None:
    """Any text is one number at every entrance, or is refused everywhere for one reason.

    A template has a reason of its own for a cell that holds no text.
    """
    found = read(parse_number, text)

    assert {name: read(each, text) for name, each in ENTRANCES.items()} == dict.fromkeys(
        ENTRANCES, found
    )
    read_as_text = {read(each, text) for each in TEXT_ENTRANCES.values()}
    is_empty = isinstance(found, str) and all(
        isinstance(each, str) and each.startswith("needs text") for each in read_as_text
    )
    assert is_empty or read_as_text == {found}


@given(_TEXTS)
def test_files_differ_in_one_thing_only(text: str) -> None:
    """A file reads as all others do, but refuses up to ten digits without + or a country."""
    found, cell = read(parse_number, text), in_a_file(text)

    if isinstance(cell, int):
        assert cell == found
    elif cell.kind is Kind.NO_COUNTRY_CODE:
        assert "or give the country of such numbers" in cell.reason
        assert "+" not in text
    else:
        assert cell.reason == found


@given(st.integers(1, 10**16) | st.integers(-(10**13), 10**13) | numbers)
def test_an_integer_is_an_integer_of_any_library(number: int) -> None:
    """An int, another library's integer and the text with a plus are read alike."""
    found = read(parse_number, number)

    assert {read(each, Whole(number)) for each in ENTRANCES.values()} == {found}
    if number > 0:
        assert read(parse_number, f"+{number}") == found


@pytest.mark.parametrize(
    "value", [919876543210.0, True, False, None, b"919876543210", 919876543210j], ids=str
)
def test_what_is_no_integer_is_refused_everywhere(value: object) -> None:
    """Floats, booleans, bytes and the like are no number anywhere."""
    required = [name for name in ENTRANCES if value is not None or "from_" not in name]

    for name in set(required) - ({"Fault"} if value is None else set()):
        with pytest.raises((InvalidCall, ConfigurationError)):
            ENTRANCES[name](value)


def test_every_problem_of_a_number_is_a_kind_of_rejection() -> None:
    """What is wrong with a number has the same name in a file's survey."""
    assert set(get_args(NumberProblem)) <= {each.value for each in Kind}


# --- the do-not-call list and look-ups --------------------------------------------------

SPELT = [
    "+1 917 010 0000", "0019170100000", "tel:+1-917-010-0000", "p:+19170100000",
    "\u202a+19170100000\u202c", "+1\u2011917\u2013010\u22120000", "1.9170100000E+10", "'19170100000",
    "\uff11\uff19\uff11\uff17010\uff10\uff10\uff10\uff10", "19170100000.0", FIRST, Whole(FIRST),
]  # fmt: skip


@pytest.mark.anyio
@pytest.mark.parametrize("entry", SPELT, ids=ascii)
async def test_who_asked_not_to_be_called_is_not_called(entry: Any) -> None:
    """A do-not-call entry blocks its contact, however either of them is written."""
    async with scene() as here:
        campaign = here.campaign()
        await campaign.load(
            [
                NewContact(number="(+1) 917 010 0000", columns={"name": "A"}),
                NewContact(number=FIRST + 1, columns={"name": "B"}),
            ]
        )
        assert await here.ledger.add_do_not_call([entry], "a letter") == 1
        await campaign.run()

        contact = await here.ledger.find("spring", entry)
        called = here.simulator.placed(entry), here.simulator.placed(FIRST + 1)

    assert contact is not None
    assert contact.state is S.BLOCKED
    assert called == (0, 1)


@pytest.mark.parametrize(
    "entry",
    ["+91 (0) 98765 43212", "9876543210", 9876543210, "+910123456789", "9.19E+11", "+919876543210 / 11",
     "+919876543210 ext 5", "", None, 9.19e11, True], ids=repr,
)  # fmt: skip
@pytest.mark.anyio
async def test_a_do_not_call_entry_that_cannot_be_read_is_refused(
    tmp_path: Path, entry: Any
) -> None:
    """The error names the entry's place, and nothing is stored as another number."""
    async with SqliteLedger(tmp_path / "ledger.db") as ledger:
        with pytest.raises(InvalidCall, match=r"^numbers\[1\]: "):
            await ledger.add_do_not_call(["+919876543211", entry], "a letter")
        with pytest.raises(InvalidCall, match=r"^numbers: must be a list"):
            await ledger.add_do_not_call("919876543211", "a letter")
        with pytest.raises(InvalidCall, match=r"^numbers\[0\]: "):
            await ledger.redial_unknown("spring", [entry])

        assert await ledger.add_do_not_call(["+919876543211"], "a letter") == 1


def test_the_simulator_reads_numbers_alike() -> None:
    """Callees and counts of the simulator take any spelling as well."""
    simulator = Simulator(callees={"tel:+91-98765-43210": Callee(ending="busy")})

    assert simulator.placed("p:+91 98765 43210") == simulator.placed(Whole(919876543210)) == 0
    with pytest.raises(InvalidCall, match=r'^to: holds "\(0\)"'):
        simulator.placed("+91 (0) 98765 43210")
