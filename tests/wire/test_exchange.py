"""HTTP exchange: how replies are read, what is refused, and when a connection can be used again."""

from __future__ import annotations

import random
from typing import NamedTuple

import h11
import pytest
from reply_bytes import DAMAGES, Draft, pieces, replies, sound

from telecmi_async.wire.exchange import (
    LARGEST_BODY,
    LARGEST_FRAMING,
    Exchange,
    ReplyError,
    encode_head,
)

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Read(NamedTuple):
    """What was read: a reply, or None in place of the status of one that was refused."""

    status: int | None
    body: bytes = b""
    reusable: bool = False


def read(*parts: bytes, ends: bool = False) -> Read:
    """Read a reply that arrives in parts, and perhaps the end of the connection."""
    exchange = Exchange()
    complete = False
    for part in parts:
        complete = exchange.receive(part)
    if ends and not complete:
        exchange.end()
        complete = True
    assert complete, "more is needed"
    return Read(exchange.status, exchange.body, exchange.reusable)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (OK + b"Content-Length: 2\r\n\r\nhi", Read(200, b"hi", reusable=True)),
        (OK + b"content-length:2\r\n\r\n\r\n", Read(200, b"\r\n", reusable=False)),
        (OK + b"Content-Length: 0\r\n\r\n", Read(200, b"", reusable=True)),
        (OK + b"Connection: close\r\nContent-Length: 2\r\n\r\nhi", Read(200, b"hi")),
        (CHUNKED + b"1\r\nh\r\n1;x=y\r\ni\r\n0\r\n\r\n", Read(200, b"hi", reusable=True)),
        (CHUNKED + b"2\r\nhi\r\n0\r\nA: b\r\n\r\n", Read(200, b"hi", reusable=True)),
        (CONTINUE * 8 + OK + b"Content-Length: 1\r\n\r\nx", Read(200, b"x", reusable=True)),
        (b"HTTP/1.1 204 No Content\r\n\r\n", Read(204, b"", reusable=True)),
        (b"HTTP/1.1 304 Same\r\nContent-Length: 9\r\n\r\n", Read(304, b"", reusable=True)),
        (b"HTTP/1.1 502\r\nContent-Length: 1\r\n\r\nx", Read(502, b"x", reusable=True)),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", Read(200, b"x")),
        (
            b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx",
            Read(200, b"x", reusable=True),
        ),
    ],
)
def test_a_reply_is_read(reply: bytes, expected: Read) -> None:
    """A reply gives its status and its body, and says whether the connection can be reused.

    A body that ends in line ends hides whether more of them follow: then it cannot.
    """
    assert read(reply) == expected


@pytest.mark.parametrize(
    "behind",
    [
        b"\r\n",
        b"\n",
        b"\r",
        b" ",
        b"x",
        b"\0",
        OK,
        CONTINUE,
        OK + b"Content-Length: 0\r\n\r\n",
        OK + b"Content-Length: 3\r\n\r\nabc",
        CHUNKED + b"1\r\nx\r\n0\r\nA: b\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"".join(CONTINUE for _ in range(20)),
    ],
)
@pytest.mark.parametrize(
    "reply",
    [
        OK + b"Content-Length: 2\r\n\r\nhi",
        OK + b"Content-Length: 2\r\nConnection: close\r\n\r\nhi",
        OK + b"Content-Length: 2\r\n\r\n\r\n",
        OK + b"Content-Length: 0\r\n\r\n",
        CHUNKED + b"2\r\nhi\r\n0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
    ],
)
def test_what_follows_a_reply_ends_the_connection(reply: bytes, behind: bytes) -> None:
    """The reply stands as it is, and its connection carries no other request."""
    alone = read(reply)

    assert read(reply + behind) == alone._replace(reusable=False)


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"H",
        OK,
        CONTINUE,
        OK + b"Content-Length: 2\r\n\r\nh",
        CHUNKED,
        CHUNKED + b"2\r\nhi\r\n",
        CHUNKED + b"2\r\nhi\r\n0\r\n",
    ],
)
def test_a_reply_that_is_cut_off_is_no_reply(reply: bytes) -> None:
    """If the connection ends before the reply does, that is an error."""
    with pytest.raises(ReplyError, match="closed before the reply was complete"):
        read(*[reply][: bool(reply)], ends=True)


@pytest.mark.parametrize("body", [b"", b"hi", b"x" * 70_000])
def test_the_end_of_the_connection_may_end_a_reply(body: bytes) -> None:
    """A reply that says neither how long it is nor that it is chunked goes on until the end."""
    assert read(OK + b"\r\n", *[body][: bool(body)], ends=True) == Read(200, body)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (b"\r\n" + OK, "not HTTP"),
        (b"220 ready\r\n", "not HTTP"),
        (b"HTTP/2.0 200 OK\r\n\r\n", "not of HTTP/1.1"),
        (b"HTTP/1.1 101 Go\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "another protocol"),
        (OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n", "unknown transfer coding"),
        (OK + b"Transfer-Encoding: identity\r\n\r\n", "unknown transfer coding"),
        (OK + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\n", "not valid HTTP"),
        (OK + b"Content-Length: 1, 1\r\n\r\n", "not valid HTTP"),
        (OK + b"Content-Length: +1\r\n\r\n", "not valid HTTP"),
        (OK + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "not valid HTTP"),
        (OK + b"A: b\r\n folded\r\n\r\n", "not valid HTTP"),
        (OK + b"A: b\rc\r\n\r\n", "not valid HTTP"),
        (OK + b"A: b\n\n", "not valid HTTP"),
        (OK + b"A : b\r\n\r\n", "not valid HTTP"),
        (CHUNKED + b"2\nhi\n0\n\n", "not valid HTTP"),
        (CHUNKED + b"0x2\r\nhi\r\n0\r\n\r\n", "not valid HTTP"),
        (CHUNKED + b"2\r\nhi!\r\n0\r\n\r\n", "not valid HTTP"),
        (CHUNKED + b"2\r\nhi\r\n0\r\nA b\r\n\r\n", "not valid HTTP"),
    ],
)
def test_a_reply_that_can_be_read_in_two_ways_is_refused(reply: bytes, reason: str) -> None:
    """What is not exactly HTTP/1.1 is an error, and its text quotes nothing."""
    with pytest.raises(ReplyError, match=reason) as caught:
        read(reply)

    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ([OK + b"A: b\r\n" * 258], "too many headers"),
        ([CONTINUE * 9], "too many interim replies"),
        ([OK + b"A: ", *[b"x" * 1024] * 65], "too large"),
        ([CONTINUE, OK + b"A: ", *[b"x" * 1024] * 65], "too large"),
        ([b"HTTP/1.1 200 ", *[b"x" * 1024] * 65], "too large"),
        ([OK + b"\r\n", *[b"x" * 65_536] * 18], "too large"),
        ([OK + b"Content-Length: 2000000\r\n\r\n", *[b"x" * 65_536] * 18], "too large"),
        ([CHUNKED, *[b"10000\r\n" + b"x" * 65_536 + b"\r\n"] * 18], "too large"),
        ([CHUNKED, *[b"1;" + b"x" * 65_536 + b"\r\ny\r\n"] * 18], "too large"),
        ([CHUNKED + b"0\r\n", *[b"A: " + b"x" * 65_536 + b"\r\n"] * 18], "too large"),
    ],
)
def test_every_part_of_a_reply_is_bounded(parts: list[bytes], reason: str) -> None:
    """Head, interim replies, body, chunks and trailers each have a limit."""
    with pytest.raises(ReplyError, match=reason):
        read(*parts)


def test_a_body_of_the_largest_size_is_read() -> None:
    """A body of 1 MiB fits, with a head of almost 64 KiB."""
    head = OK + b"A: " + b"x" * (LARGEST_FRAMING - 100) + b"\r\n"
    head += b"Content-Length: %d\r\n\r\n" % LARGEST_BODY
    body = b"y" * LARGEST_BODY

    assert read(head, body[:9], body[9:]) == Read(200, body, reusable=True)


def test_headers_are_those_of_the_final_reply() -> None:
    """Neither interim replies nor trailers add headers; names are in lower case."""
    exchange = Exchange()
    exchange.receive(
        b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" + OK + b"Retry-AFTER: 3\r\n"
    )
    exchange.receive(b"Transfer-Encoding: chunked\r\n\r\n0\r\nTrailer: x\r\n\r\n")

    assert exchange.headers == [(b"retry-after", b"3"), (b"transfer-encoding", b"chunked")]


def test_a_head_is_encoded_as_http_has_it() -> None:
    """The head names the target, then the headers in their order."""
    assert encode_head(b"/v2/x?y=1", [(b"Host", b"h"), (b"A", b"b")]) == (
        b"POST /v2/x?y=1 HTTP/1.1\r\nHost: h\r\nA: b\r\n\r\n"
    )


# --- against h11 ---------------------------------------------------------------------------

# What llhttp reads and h11 refuses: each of them in one way only.
HARMLESS = (
    "illegal chunk header: bytearray(b'0",  # more than 20 digits, of which the first are zeros
    "bad Content-Length",  # the same
    "illegal status line",  # a NUL in the reason
    "Receive buffer too long",  # a chunk's extension
    "no response line received",  # an empty line between an interim reply and the reply
)


def read_by_h11(parts: list[bytes]) -> Read | str:
    """Return what h11 reads, or why it refuses to."""
    peer = h11.Connection(h11.CLIENT, max_incomplete_event_size=LARGEST_FRAMING)
    fields = [("Host", "h"), ("Content-Length", "0")]
    peer.send(h11.Request(method="POST", target="/", headers=fields))
    peer.send(h11.EndOfMessage())
    status, body = 0, b""
    try:
        for part in [*parts, b""]:
            peer.receive_data(part)
            while (event := peer.next_event()) not in (
                h11.NEED_DATA,
                h11.PAUSED,
            ):  # not hashable
                if isinstance(event, h11.Response):
                    status = event.status_code
                elif isinstance(event, h11.Data):
                    body += event.data
                elif isinstance(event, h11.EndOfMessage):
                    again = peer.our_state is peer.their_state is h11.DONE
                    return Read(status, body, again and not peer.trailing_data[0])
    except h11.RemoteProtocolError as error:
        return str(error)
    return "incomplete"


def read_or_refuse(parts: list[bytes]) -> Read | str:
    """Return what an exchange reads of parts and the end of the connection, or why it refuses."""
    exchange = Exchange()
    try:
        for number, part in enumerate(parts, start=1):
            if exchange.receive(part):
                alone = exchange.reusable and number == len(parts)
                return Read(exchange.status, exchange.body, alone)
        exchange.end()
    except ReplyError as error:
        return str(error)
    return Read(exchange.status, exchange.body)


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_reply_means_what_h11_reads(kind: str) -> None:
    """Of a reply with one damage, nothing is read that h11 reads otherwise, or refuses.

    Only what is listed as harmless is more than h11 reads.
    """
    for seed in range(60):
        rng = random.Random(f"{kind}{seed}")
        draft = Draft(rng)
        DAMAGES[kind](draft, rng)
        check_against_h11(pieces(rng, draft.render()))


def test_random_replies_mean_what_h11_reads() -> None:
    """The same holds for replies with several damages, cut off and split anywhere."""
    for seed in range(1500):
        rng = random.Random(seed)
        check_against_h11(pieces(rng, replies(rng)))


def check_against_h11(parts: list[bytes]) -> None:
    """Compare the two parsers over one stream."""
    ours, theirs = read_or_refuse(parts), read_by_h11(parts)
    if isinstance(ours, Read):
        if isinstance(theirs, Read):
            assert ours[:2] == theirs[:2], parts
            assert theirs.reusable or not ours.reusable, parts
        else:
            assert theirs.startswith(HARMLESS), (theirs, parts)


def test_sound_replies_are_read() -> None:
    """A well-formed reply is read, however it is split; one that came whole, exactly."""
    for seed in range(1000):
        rng = random.Random(seed)
        reply = sound(rng)
        split = read(*pieces(rng, reply.data), ends=not reply.ends)
        whole = read(reply.data, ends=not reply.ends)

        assert split[:2] == whole[:2] == (reply.status, reply.body)
        assert reply.reusable or not split.reusable
        assert whole.reusable == reply.reusable or reply.body.endswith((b"\r", b"\n"))
