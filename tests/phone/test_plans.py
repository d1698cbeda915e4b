"""Numbering plans: the lengths of numbers by country calling code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from telecmi_async.campaigns.zones import calling_code_of, calling_codes
from telecmi_async.phone.number import LEADING_ZERO, full_number
from telecmi_async.phone.plans import plan_codes, plan_of, plan_of_code
from telecmi_async.phone.spelling import NumberFlaw

DATA = Path(__file__).parents[1] / "data"
# Fixed, mobile and internet numbers of every country, the examples of libphonenumber 9.0.43.
EXAMPLES: dict[str, list[str]] = json.loads(
    DATA.joinpath("phone_examples.json").read_text("utf-8")
)
# The lengths of fixed, mobile, internet and personal numbers, and the prefix within the country.
LENGTHS: dict[str, dict[str, Any]] = json.loads(
    DATA.joinpath("phone_lengths.json").read_text("utf-8")
)
OTHERWISE = {
    "27": {9},  # short numbers there ring from within the country only
    "43": set(range(5, 14)),  # so do Austria's of four digits
    "49": set(range(5, 14)),  # more would be longer than E.164 allows
    "98": {10},  # short numbers there ring from within the country only
    # Norfolk Island and Antarctica share a code, to which their own digit is added.
    "6721": {5},
    "6723": {5},
}


@pytest.mark.parametrize("code", EXAMPLES)
def test_a_real_number_of_every_country_is_read(code: str) -> None:
    """Example numbers of all countries are valid; those too short for a country are not."""
    for national in EXAMPLES[code]:
        number = full_number(code + national)

        assert number == int(code + national) or len(code + national) < 7


@pytest.mark.parametrize("code", sorted(plan_codes()))
def test_the_lengths_of_every_country_are_those_of_libphonenumber(code: str) -> None:
    """Each plan has the lengths and the trunk prefix that libphonenumber 9.0.43 has, or says why."""
    plan = plan_of_code(code)
    known = LENGTHS.get(code, {"trunk": "", "lengths": []})

    assert plan.lengths == OTHERWISE.get(code, set(known["lengths"]))
    # In Rwanda some numbers keep their zero.
    assert plan.drops_zero is (known["trunk"] == "0" and code != "250")


def test_numbers_of_some_countries_keep_a_zero() -> None:
    """A 0 behind these codes is a part of the number: it is dialled from abroad, too."""
    keep = {code for code in plan_codes() if plan_of_code(code).keeps_zero}

    assert keep == {
        "39",
        "378",
        "225",
        "226",
        "229",
        "241",
        "242",
        "250",
        "6721",
        "6723",
        "992",
    }
    for code in keep:
        length = max(plan_of_code(code).lengths)
        assert full_number(f"{code}0{'2' * (length - 1)}") == int(
            f"{code}0{'2' * (length - 1)}"
        )


def test_every_country_with_time_zones_has_a_plan() -> None:
    """The numbering plans and the table of time zones know the same calling codes."""
    bases = {plan.code for code in calling_codes() if (plan := plan_of(code))}

    assert bases == plan_codes()
    assert [code for code in calling_codes() if plan_of(code) is None] == []
    assert [code for code in plan_codes() if calling_code_of(int(code + "9" * 8)) is None] == []


def test_no_code_begins_with_another() -> None:
    """A calling code is not the beginning of another one, so the first that fits is right."""
    codes = sorted(plan_codes())

    assert [
        (first, second)
        for first in codes
        for second in codes
        if first != second and second.startswith(first)
    ] == []


@pytest.mark.parametrize("code", sorted(plan_codes()))
def test_a_plan_makes_sense(code: str) -> None:
    """Each plan has lengths within E.164, and a 0 is either dropped or kept."""
    plan = plan_of_code(code)

    assert plan.lengths
    assert all(len(code) + length <= 15 for length in plan.lengths)
    assert max(plan.lengths) + len(code) >= 7
    assert not (plan.drops_zero and plan.keeps_zero)


@pytest.mark.parametrize("code", sorted(plan_codes()))
def test_impossible_lengths_are_refused_in_every_country(code: str) -> None:
    """Behind every code, one digit less or more than its numbers have is refused."""
    plan = plan_of_code(code)
    for length in (min(plan.lengths) - 1, max(plan.lengths) + 1):
        found = full_number(code + "2" * length)

        assert isinstance(found, NumberFlaw)
        assert found.problem == "wrong_length"


@pytest.mark.parametrize(
    ("code", "lengths", "drops", "keeps", "span"),
    [
        ("91", {10}, True, False, "10"),
        ("44", {9, 10}, True, False, "9 or 10"),
        ("82", {5, 6, 8, 9, 10, 11}, True, False, "5 or 6 or 8 to 11"),
        ("39", {6, 7, 8, 9, 10, 11, 12}, False, True, "6 to 12"),
        ("20", {8, 9, 10}, True, False, "8 to 10"),
        ("34", {9}, False, False, "9"),
    ],
)
def test_a_plan_is_read_from_its_line(
    code: str, lengths: set[int], drops: bool, keeps: bool, span: str
) -> None:
    """Lengths and zeros are read from the table as they are written there."""
    plan = plan_of(code + "123")

    assert plan is not None
    assert tuple(plan) == (code, lengths, drops, keeps, span)


@pytest.mark.parametrize("digits", ["", "0", "210", "881612345678", "999"])
def test_a_code_of_no_country_has_no_plan(digits: str) -> None:
    """Unassigned codes and those of satellite phones have no numbering plan."""
    assert plan_of(digits) is None


@pytest.mark.parametrize(
    ("digits", "problem"),
    [
        ("0919876543210", "unknown_country"),
        ("8811234567", "unknown_country"),
        ("123456", "wrong_length"),
        ("1234567890123456", "wrong_length"),
        ("91987654321", "wrong_length"),
        ("910987654321", "not_a_number"),
        ("11175550123", "not_a_number"),
        ("12121550123", "not_a_number"),
    ],
)
def test_a_flaw_names_its_kind(digits: str, problem: str) -> None:
    """The kind of each flaw is one that reports of contacts files count."""
    found = full_number(digits)

    assert isinstance(found, NumberFlaw)
    assert found.problem == problem
    assert LEADING_ZERO.problem == "no_country_code"


def test_a_number_may_have_15_digits() -> None:
    """E.164 allows 15 digits, and Germany uses them."""
    assert full_number("491234567890123") == 491234567890123
