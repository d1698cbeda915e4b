"""Addresses of handlers: their names are checked, and their values can be read by us only."""

from __future__ import annotations

import base64
import itertools
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from webhook_posts import DIGITS, TOKEN, post

from telecmi_async import CallService, ConfigurationError, Flow, Receiver
from telecmi_async._internal.secrets import Secret
from telecmi_async.events.reference import References

if TYPE_CHECKING:
    from telecmi_async.events import DigitsEvent

pytestmark = pytest.mark.anyio

BASE = "https://example.com/telecmi"
CALLER = "919876543210"


def known() -> Receiver:
    """Return a receiver that knows its account's secret."""
    return Receiver(TOKEN, secret="a-secret")


def spellings(url: str) -> list[str]:
    """Return what can be read in an address: itself, and what its parts decode to."""
    texts = [url, unquote(url), unquote(unquote(url))]
    for word in re.findall(r"[A-Za-z0-9_-]{8,}", urlsplit(url).query):
        for padded in (word, word[:-1], word[1:]):
            with suppress(ValueError):  # of that length there is none
                data = base64.urlsafe_b64decode(padded + "=" * (-len(padded) % 4))
                texts.append(data.decode("latin-1"))
    return texts


@pytest.mark.parametrize(
    "value", [CALLER, int(CALLER), f"+{CALLER}", f"tel:{CALLER}", "Asha Rao"]
)
def test_nothing_private_can_be_read_in_an_address(value: str | int) -> None:
    """A value is in no form of the address, as a server or proxy on the way may log it."""
    urls = [known().url(BASE, caller=value) for _ in range(20)]

    for text in itertools.chain.from_iterable(map(spellings, urls)):
        for part in (str(value), CALLER[2:], CALLER[::-1], "caller", "Asha"):
            assert part not in text
    assert len(set(urls)) == 20, "two equal values look different"


async def test_values_come_back_as_text() -> None:
    """Whatever was given comes back as text, at the receiver of any process of the account."""
    asked: list[DigitsEvent] = []
    given: dict[str, str | int] = {
        "order": 42,
        "name": "A&B ü\n☎",
        "empty": "",
        "caller": CALLER,
        "v": "mine",
    }
    url = known().url(BASE, "", nothing=None, **given)
    other = Receiver(TOKEN)

    @other.on_input
    def menu(event: DigitsEvent) -> Flow:
        asked.append(event)
        return Flow().hangup()

    async with other, CallService(1, "a-secret", from_=19170000000, events=other):
        await post(other, DIGITS, path=url.removeprefix("https://example.com"))

    assert [dict(event.query) for event in asked] == [
        {key: str(value) for key, value in given.items()}
    ]
    assert CALLER not in repr(asked[0])


@pytest.mark.parametrize(
    "change", ["other account", "changed", "cut", "nonsense", "padding", "empty"]
)
async def test_values_that_were_changed_are_none(
    change: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Values that this account did not encrypt are left out, and the log says so."""
    asked: list[dict[str, str]] = []
    receiver = known()
    url = receiver.url(BASE, caller=CALLER)
    (values,) = parse_qs(urlsplit(url).query)["v"]
    match change:
        case "other account":
            url = Receiver(TOKEN, secret="another-secret").url(BASE, caller=CALLER)
        case "changed":
            url = url.replace(values, ("A" if values[0] != "A" else "B") + values[1:])
        case "cut":
            url = url.replace(values, values[:20])
        case "nonsense":
            url = url.replace(values, "%00%FF")
        case "padding":
            url = url.replace(values, "A")
        case _:
            url = url.replace(values, "")

    @receiver.on_input
    def menu(event: DigitsEvent) -> Flow:
        asked.append(dict(event.query))
        return Flow().hangup()

    async with receiver:
        reply = await post(receiver, DIGITS, path=url.removeprefix("https://example.com"))

    assert reply.status == 200
    assert asked == [{}]
    assert "cannot be read" in caplog.text


async def test_the_secret_may_change() -> None:
    """Addresses that an earlier secret encrypted are read as long as a service with it was there."""
    asked: list[str | None] = []
    receiver = Receiver(TOKEN, secret="old-secret")
    url = receiver.url(BASE, order=42)

    @receiver.on_input
    def menu(event: DigitsEvent) -> Flow:
        asked.append(event.query.get("order"))
        return Flow().hangup()

    async with receiver, CallService(1, "new-secret", from_=19170000000, events=receiver):
        newer = receiver.url(BASE, order=43)
        for each in (url, newer):
            await post(receiver, DIGITS, path=each.removeprefix("https://example.com"))

    assert asked == ["42", "43"]
    assert References(Secret("new-secret")).decrypt(parse_qs(urlsplit(newer).query)["v"][0])


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_whatever_is_encrypted_is_decrypted(text: str) -> None:
    """Each text comes back, and each change of a letter is noticed."""
    references = References(Secret("a-secret"))
    sent = references.encrypt(text)
    changed = ("A" if sent[9] != "A" else "B").join([sent[:9], sent[10:]])

    assert references.decrypt(sent) == text
    assert references.decrypt(changed) is None
    assert re.fullmatch(r"[A-Za-z0-9_-]+", sent)


@given(st.text())
def test_what_is_no_ciphertext_is_none(text: str) -> None:
    """Any text that was not encrypted here is None, not an error."""
    assert References(Secret("a-secret")).decrypt(text) is None


def test_without_the_secret_values_are_refused() -> None:
    """A receiver that knows no secret makes addresses without values only, and says why."""
    receiver = Receiver(TOKEN)

    assert receiver.url(BASE, caller=None) == f"{BASE}/{TOKEN}"
    with pytest.raises(ConfigurationError, match=r"Receiver\(token, secret=…\)"):
        receiver.url(BASE, caller=CALLER)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (
            {"caller": 1.5},
            "the value caller of an address must be text, an int or None, not float",
        ),
        ({"caller": True}, "not bool"),
        ({"caller": b"x"}, "not bytes"),
        ({"caller": [CALLER]}, "not list"),
        ({"note": "x" * 1_001}, "more than 1000 characters"),
        ({f"n{n}": "x" * 100 for n in range(10)}, "more than 1000 characters"),
    ],
)
def test_values_are_checked(values: dict[str, Any], says: str) -> None:
    """A value that would not come back as it was given, or is too long, is refused by name."""
    with pytest.raises(ConfigurationError, match=says) as caught:
        known().url(BASE, **values)

    assert CALLER not in str(caught.value)


@pytest.mark.parametrize(
    "base",
    [
        "",
        "example.com",
        "ftp://example.com",
        "https://example.com/?a=1",
        "https://a/#b",
        None,
        7,
    ],
)
def test_a_base_that_is_no_address_is_refused(base: Any) -> None:
    """The base is an address to which a name and the token can be added."""
    with pytest.raises(ConfigurationError, match="where the receiver is mounted"):
        known().url(base)


def test_a_name_without_a_handler_is_refused() -> None:
    """A misspelt name is refused, with the names that there are; also where any would be served."""
    receiver = known()

    assert "/menu/" in receiver.url(BASE, "menu"), "its handlers are in another process"
    receiver.on_input(lambda event: Flow().hangup())
    with pytest.raises(ConfigurationError, match="'menu'; there is none with a name"):
        receiver.url(BASE, "menu")
    receiver.on_input("menu")(lambda event: Flow().hangup())
    receiver.on_input("pin")(lambda event: Flow().hangup())
    with pytest.raises(ConfigurationError, match="'mneu'; there is 'menu', 'pin'"):
        receiver.url(BASE, "mneu")

    assert receiver.url(BASE, "menu") == f"{BASE}/menu/{TOKEN}"
    assert receiver.url(BASE) == f"{BASE}/{TOKEN}"
