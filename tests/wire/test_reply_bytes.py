"""The generator of replies that the fuzz tests of the parser use."""

from __future__ import annotations

import random

import h11
import pytest
import reply_bytes as rb
from hypothesis import given


def read(data: bytes, *, closed: bool) -> tuple[int, bytes]:
    """Read a reply with h11, which is strict; return its status and body."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    request = h11.Request(method="POST", target="/", headers=[("Host", "a")])
    connection.send(request)
    connection.send(h11.EndOfMessage())
    connection.receive_data(data)
    if closed:
        connection.receive_data(b"")
    status, body = 0, b""
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            return status, body
        elif not isinstance(event, h11.InformationalResponse):
            raise h11.RemoteProtocolError("not a whole reply")


def accepts(data: bytes) -> bool:
    """Whether h11 reads a whole reply."""
    try:
        read(data, closed=True)
    except h11.RemoteProtocolError:
        return False
    return True


def test_a_sound_reply_means_what_is_said_of_it() -> None:
    """h11, an independent parser, reads in each sound reply the status and the body it states."""
    rng = random.Random(1)
    made = [rb.sound(rng) for _ in range(2000)]

    assert all(
        read(each.data, closed=not each.ends) == (each.status, each.body) for each in made
    )
    assert {each.ends for each in made} == {each.reusable for each in made} == {True, False}


@pytest.mark.parametrize("name", rb.DAMAGES)
def test_each_damage_changes_the_reply(name: str) -> None:
    """A damage gives bytes that the same random choices without it do not give."""
    for seed in range(40):
        rng = random.Random(seed)
        draft = rb.Draft(rng)
        before = draft.render()
        rb.DAMAGES[name](draft, rng)
        if draft.render() != before:
            return
    pytest.fail("it never changes anything")


def test_a_seed_gives_the_same_replies() -> None:
    """The same seed gives the same replies, sound and damaged ones in useful shares."""
    first, again = random.Random(7), random.Random(7)
    made = [rb.replies(first) for _ in range(2000)]

    assert made == [rb.replies(again) for _ in range(2000)]
    assert 600 < sum(map(accepts, made)) < 1600


@given(rb.reply_streams())
def test_a_strategy_gives_replies(data: bytes) -> None:
    """The strategy gives bytes of a size that tests can work with."""
    assert len(data) < 1 << 20


def test_pieces_are_the_same_bytes() -> None:
    """What is cut into pieces stays the same, and no piece of it is empty."""
    rng = random.Random(3)
    for length in range(1, 60):
        data = rng.randbytes(length)
        cut = rb.pieces(rng, data)

        assert b"".join(cut) == data
        assert all(cut)
