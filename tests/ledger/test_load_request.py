"""Load requests: contacts as a text that a program's own transaction hands to the ledger."""

from __future__ import annotations

import json
from typing import Any

import pytest

from telecmi_async.errors import ConfigurationError
from telecmi_async.ledger import NewContact, load_request

NUMBER = 19170000001


def test_contacts_are_in_the_order_of_their_numbers() -> None:
    """However contacts are given, transactions lock them in one order; the first of a number wins."""
    contacts = [
        NewContact(number=NUMBER + 2),
        NewContact(number=NUMBER, columns={"n": "1"}, not_before=1.5, not_after=2.5),
        NewContact(number=NUMBER, columns={"n": "2"}),
    ]

    request = json.loads(load_request("orders", iter(contacts), by="shop"))

    assert request["campaign"] == "orders"
    assert request["by"] == "shop"
    assert request["contacts"] == [
        [NUMBER, '{"n":"1"}', 1.5, 2.5],
        [NUMBER, '{"n":"2"}', 0.0, None],
        [NUMBER + 2, "{}", 0.0, None],
    ]


def test_each_load_is_a_change_of_its_own() -> None:
    """Two requests are two entries in the history, even of the same contacts."""
    operations = {json.loads(load_request("orders", []))["operation"] for _ in range(9)}

    assert len(operations) == 9


def test_what_the_server_cannot_keep_is_left_out_of_names() -> None:
    """Characters that PostgreSQL cannot keep are not in ``by``; columns are kept as they are."""
    odd = {"a\0": "\ud800"}

    text = load_request("orders", [NewContact(number=NUMBER, columns=odd)], by="sh\ud800op")
    request = json.loads(text)

    assert text.isascii()
    assert request["by"] == "sh?op"
    assert json.loads(request["contacts"][0][1]) == odd


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((7, []), "campaign must be the campaign's name, not int"),
        (("orders", NewContact(number=NUMBER)), "contacts must be an iterable of NewContact"),
        (("orders", [NUMBER]), "contacts must be NewContact"),
        (("orders", None), "contacts must be an iterable of NewContact, not NoneType"),
    ],
)
def test_a_value_of_the_wrong_kind_is_named(given: tuple[Any, Any], words: str) -> None:
    """A value of the wrong kind is a `ConfigurationError` that does not repeat a number."""
    with pytest.raises(ConfigurationError, match=words) as caught:
        load_request(*given)

    assert str(NUMBER) not in str(caught.value)


def test_a_name_of_the_wrong_kind_is_named() -> None:
    """``by`` is a text."""
    with pytest.raises(ConfigurationError, match="by must be a text, not int"):
        load_request("orders", [], by=7)  # type: ignore[arg-type]  # a wrong type
