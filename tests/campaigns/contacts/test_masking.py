"""Masking of phone numbers in the texts of rows and events."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telecmi_async.campaigns.contacts.masking import mask_text

KNOWN = ("919876543210",)


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-30", "30.11.2026", "01-02-2026", "2026-11-30 12:30", "2026-11-30T12:30:00Z", "12:30",
        "2026-11-30 2026-12-01", "2026-11-30 1230", "1732924800000", "20261130T123000", "1,250.00",
        "-1250", "+1000000", "order 4711-0815", "12345678", "123456789012345678", "0815-4711", "",
        "550e8400-e29b-41d4-a716-446655440000", "10.0.0.1", "Ada", "room 21, floor 3", "9876543",
    ],
)  # fmt: skip
def test_dates_amounts_and_ids_stay(text: str) -> None:
    """What is no phone number is not masked, although it consists of digits."""
    assert mask_text(text, "note", KNOWN) == text


@pytest.mark.parametrize(
    ("name", "text", "masked"),
    [
        ("note", "919876543210", "••••••••3210"),
        ("note", "call 98765 43210 back", "call ••••••3210 back"),
        ("note", "2026-11-30 98765-43210", "2026-11-30 ••••••3210"),
        ("note", "91/98765/43210, then 5", "••••••••3210, then 5"),
        ("note", "5, 98765_43210", "5, ••••••3210"),
        ("note", "91 98765    43210", "••••••••3210"),
        ("note", "91 98765\n43210", "••••••••3210"),
        ("alt", "98111 22333", "••••••2333"),
        ("alt", "098111 22333", "•••••••2333"),
        ("note", "his wife: +44 20 7946 0958", "his wife: ••••••••0958"),
        ("note", "his wife: 442079460958.", "his wife: ••••••••0958."),
        ("alt", "00 44 20 7946 0958", "••••••••••0958"),
        ("file", "1632307235000-442079460958.wav", "1632307235000-••••••••0958.wav"),
        ("note", "44 20 7946 0958 44 20 7946 0959", "•••••••••••0959"),
        ("Phone No. 2", "2079460", "•••9460"),
        ("whatsapp", "98111 22333", "••••••2333"),
        ("mobile_2", "98111 22333 / 98111 22334", "••••••2333 / ••••••2334"),
        ("Alternate phone", "none", "none"),
    ],
)
def test_numbers_are_masked(name: str, text: str, masked: str) -> None:
    """Known numbers, numbers with a country code, and columns of numbers are masked."""
    assert mask_text(text, name, KNOWN) == masked


def test_a_date_with_the_digits_of_a_known_number_stays() -> None:
    """A date is a date, even if a known number ends with its digits."""
    assert mask_text("on 2024-01-02", "note", ["919820240102"]) == "on 2024-01-02"


def test_without_a_known_number_a_national_one_stays() -> None:
    """Ten digits may be anything if no number says which country they could belong to."""
    assert mask_text("9811122333", "alt") == "9811122333"
    assert mask_text("9811122333", "alt", ["999"]) == "9811122333"


@given(
    st.text("abc ,;:2", max_size=12),
    st.lists(st.sampled_from(["", " ", "-", ".", " (", ") ", "\u2011", "\u200b"]), min_size=11, max_size=11),
    st.sampled_from(["", "+", "00"]),
    st.text("abc ,;:", max_size=12),
)  # fmt: skip
def test_no_spelling_of_a_known_number_is_left(
    before: str, between: list[str], prefix: str, after: str
) -> None:
    """However the contact's number is written within a text, it cannot be read there."""
    (known,) = KNOWN
    spelled = "".join(map("".join, zip(known, [*between, ""], strict=True)))

    masked = mask_text(f"{before}{prefix}{spelled}{after}", "note", KNOWN)

    assert "98765432" not in re.sub(r"\D", "", masked)
