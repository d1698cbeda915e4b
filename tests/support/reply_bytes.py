"""HTTP/1.1 replies as bytes: well-formed ones, and ones that are damaged in known ways.

`replies` makes what a server may send for one request; `sound` makes only well-formed replies and
says what they mean. `DAMAGES` names every kind of damage, so that a failure can be described and
a single kind can be tested. The same random generator state gives the same bytes.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from hypothesis import strategies as st

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

__all__ = ["DAMAGES", "Draft", "Sound", "pieces", "replies", "reply_streams", "sound"]

CRLF = b"\r\n"
REASONS = {
    200: b"OK",
    201: b"Created",
    202: b"Accepted",
    204: b"No Content",
    302: b"Found",
    304: b"Not Modified",
    400: b"Bad Request",
    404: b"Not Found",
    420: b"Enhance Your Calm",
    422: b"Unprocessable Content",
    429: b"Too Many Requests",
    500: b"Internal Server Error",
    502: b"Bad Gateway",
    503: b"Service Unavailable",
}
BODILESS = frozenset({204, 304})
HARMLESS = (
    b"Date: Sun, 29 Nov 2026 12:00:00 GMT",
    b"Server: nginx",
    b"Content-Type: application/json; charset=utf-8",
    b"X-Request-Id:0123456789abcdef",
    b"Vary:   Accept-Encoding   ",
    b"X-Empty:",
    b"Set-Cookie: a=b; Path=/",
    b"Set-Cookie: c=d",
    b"Via: 1.1 edge",
    b"Keep-Alive: timeout=5, max=100",
)
HUGE = b"9" * 40


class Draft:
    """A reply that is being made: its lines without line ends, and its body in pieces.

    Args:
        rng: Where its random choices come from.
        status: Its status; random if not given, as is its content.
        content: What it says.
    """

    def __init__(
        self, rng: random.Random, status: int | None = None, content: bytes | None = None
    ) -> None:
        self.status = rng.choice((200, 200, 200, 200, *REASONS)) if status is None else status
        self.content = _content(rng, self.status) if content is None else content
        self.interims = [_interim(rng) for _ in range(rng.choice((0, 0, 0, 0, 0, 0, 1, 2)))]
        self.line = b"HTTP/1.1 %d %s" % (self.status, REASONS.get(self.status, b"Other"))
        self.fields = rng.sample(HARMLESS, rng.randrange(4))
        self.head_end = CRLF
        self.line_end = CRLF
        #: Sizes with their extensions, and the data of each chunk; None if it is not chunked.
        self.chunks: list[tuple[bytes, bytes]] | None = None
        self.trailers: list[bytes] = []
        self.chunk_end = CRLF
        self.behind = b""
        #: Whether the client may send another request on the connection.
        self.reusable = True
        if self.status in BODILESS:
            if self.status == 304 and rng.random() < 0.3:
                self.fields.append(b"Content-Length: 12")  # of what a GET would have got
        else:
            rng.choices((self.measure, self.chunk, self.until_close), (6, 5, 1))[0](rng)
        if self.reusable and rng.random() < 0.15:
            name = rng.choice((b"Connection", b"connection", b"CONNECTION"))
            self.reusable = rng.random() < 0.5
            word = rng.choice((b"keep-alive", b"Keep-Alive"))
            self.fields.append(
                name + b": " + (word if self.reusable else rng.choice((b"close", b"Close")))
            )
        rng.shuffle(self.fields)

    def drop(self, name: bytes) -> None:
        """Remove the fields of a name."""
        self.fields = [each for each in self.fields if not each.lower().startswith(name)]

    def measure(self, rng: random.Random) -> None:
        """Give it a Content-Length, and nothing else that ends its body."""
        self.chunks = None
        self._unframe()
        name = rng.choice((b"Content-Length: ", b"content-length:", b"CONTENT-LENGTH: "))
        self.fields.append(name + b"%d" % len(self.content) + rng.choice((b"", b"", b" ")))

    def chunk(self, rng: random.Random) -> None:
        """Send its body in chunks, perhaps with extensions and trailers."""
        self._unframe()
        coding = rng.choice((b"chunked", b"chunked", b"Chunked"))
        self.fields.append(rng.choice((b"Transfer-Encoding: ", b"transfer-encoding:")) + coding)
        parts = pieces(rng, self.content, at_most=4) if self.content else []
        self.chunks = [(_size(rng, len(part)), part) for part in parts]
        self.chunks.append((rng.choice((b"0", b"0", b"0", b"000")), b""))
        if rng.random() < 0.2:
            self.trailers = rng.sample((b"X-Checksum: 1", b"Expires: 0", b"X-Empty:"), 2)

    def until_close(self, rng: random.Random) -> None:
        """Let the end of the connection end its body."""
        self.chunks = None
        self._unframe()
        self.reusable = False
        if rng.random() < 0.5:
            self.drop(b"connection")
            self.fields.append(b"Connection: close")

    def _unframe(self) -> None:
        self.drop(b"content-length")
        self.drop(b"transfer-encoding")

    def chunked(self, rng: random.Random) -> list[tuple[bytes, bytes]]:
        """Return its chunks; a body without any is cut into some first."""
        if self.chunks is None:
            self.chunk(rng)
        assert self.chunks is not None
        return self.chunks

    def head(self) -> bytes:
        """Return everything up to the body."""
        lines = self.line_end.join([self.line, *self.fields])
        return b"".join(self.interims) + lines + self.line_end + self.head_end

    def render(self) -> bytes:
        """Return the whole reply, and what comes behind it."""
        body = self.content if self.status not in BODILESS else b""
        if self.chunks is not None:
            sent = [size + self.chunk_end + data for size, data in self.chunks[:-1]]
            last = self.chunks[-1][0] + self.chunk_end
            end = b"".join(trailer + self.chunk_end for trailer in self.trailers)
            body = b"".join(each + self.chunk_end for each in sent) + last + end
            body += self.chunk_end
        return self.head() + body + self.behind


class Sound(NamedTuple):
    """A well-formed reply and its meaning.

    Args:
        data: Its bytes, interim replies included.
        status: Its status.
        body: Its decoded body.
        reusable: Whether the connection may be used again.
        ends: Whether it ends by itself; otherwise the end of the connection ends it.
    """

    data: bytes
    status: int
    body: bytes
    reusable: bool
    ends: bool


def _content(rng: random.Random, status: int) -> bytes:
    """Return what a reply says."""
    if status in BODILESS:
        return b""
    accepted = json.dumps({"status": "progress", "request_id": "r" * 43, "code": 200})
    return rng.choice(
        (
            accepted.encode(),
            accepted.encode(),
            json.dumps({"code": 420, "msg": "no\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"}).encode(),
            b"<html>\r\n0\r\n\r\n</html>",
            b"",
            b"{}",
            rng.randbytes(rng.randrange(1, 40)),
            b"a" * rng.choice((1, 9, 10, 15, 16, 17, 255, 4096)),
        )
    )


def _size(rng: random.Random, length: int) -> bytes:
    """Spell the size of a chunk in one of the ways that the grammar allows."""
    digits = rng.choice((b"%x", b"%x", b"%X", b"00%x", b"0%X")) % length
    extension = rng.choice((b"",) * 6 + (b";a", b";a=b", b';a="b c"', b";a=b;c=d"))
    return digits + extension


def _interim(rng: random.Random) -> bytes:
    """Return an interim reply, which a client ignores."""
    line = rng.choice((b"100 Continue", b"102 Processing", b"103 Early Hints", b"199 Later"))
    fields = rng.choice((b"", b"", b"Link: </a>; rel=preload\r\n", b"X-Interim: 1\r\n"))
    return b"HTTP/1.1 " + line + CRLF + fields + CRLF


def pieces(rng: random.Random, data: bytes, *, at_most: int = 8) -> list[bytes]:
    """Cut bytes into pieces at random places; together they are the same bytes."""
    count = min(rng.randrange(at_most), max(len(data) - 1, 0))
    cuts = sorted(rng.sample(range(1, len(data)), count)) if count else []
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]


Damage: TypeAlias = "Callable[[Draft, random.Random], None]"


def _length(*values: bytes) -> Damage:
    """Return a damage that gives Content-Length one of some values; ``%d`` is the right one."""

    def damage(draft: Draft, rng: random.Random) -> None:
        draft.measure(rng)
        draft.drop(b"content-length")
        value = rng.choice(values)
        right = b"%d" % len(draft.content)
        draft.fields.append(b"Content-Length: " + value.replace(b"%d", right))

    return damage


def _lengths(draft: Draft, rng: random.Random) -> None:
    """Give it two lengths, equal or different."""
    draft.measure(rng)
    other = len(draft.content) + rng.choice((0, 0, 1, -1, 7))
    field = b"Content-Length: %d" % max(other, 0)
    draft.fields.insert(rng.randrange(len(draft.fields) + 1), field)


def _wrong_length(draft: Draft, rng: random.Random) -> None:
    """Promise more or less than it sends."""
    draft.measure(rng)
    draft.drop(b"content-length")
    length = rng.choice((0, len(draft.content) // 2, len(draft.content) + 1, 1 << 21))
    draft.fields.append(b"Content-Length: %d" % length)


def _missing_length(draft: Draft, rng: random.Random) -> None:
    draft.measure(rng)
    draft.drop(b"content-length")


def _codings(*values: bytes) -> Damage:
    """Return a damage that sends the body in chunks under one of some Transfer-Encodings."""

    def damage(draft: Draft, rng: random.Random) -> None:
        draft.chunk(rng)
        draft.drop(b"transfer-encoding")
        draft.fields += [
            b"Transfer-Encoding: " + each for each in rng.choice(values).split(b"|")
        ]

    return damage


def _coding_and_length(draft: Draft, rng: random.Random) -> None:
    """Give it both framings: the way to smuggle a reply."""
    draft.chunk(rng)
    length = rng.choice((len(draft.content), 0, 3, len(draft.render())))
    place = rng.randrange(len(draft.fields) + 1)
    draft.fields.insert(place, b"Content-Length: %d" % length)


def _coding_without_chunks(draft: Draft, rng: random.Random) -> None:
    """Announce chunks and send none."""
    draft.measure(rng)
    draft.drop(b"content-length")
    draft.fields.append(b"Transfer-Encoding: chunked")


def _sizes(*values: bytes) -> Damage:
    """Return a damage that spells a chunk's size in one of some ways; ``%x`` is the right one."""

    def damage(draft: Draft, rng: random.Random) -> None:
        chunks = draft.chunked(rng)
        which = rng.randrange(len(chunks))
        data = chunks[which][1]
        chunks[which] = (rng.choice(values).replace(b"%x", b"%x" % len(data)), data)

    return damage


def _chunk_data(draft: Draft, rng: random.Random) -> None:
    """Send more or less in a chunk than its size says."""
    chunks = draft.chunked(rng)
    which = rng.randrange(len(chunks))
    size, data = chunks[which]
    chunks[which] = (size, rng.choice((data + b"x", data[:-1], data + CRLF, b"")))


def _no_last_chunk(draft: Draft, rng: random.Random) -> None:
    draft.chunked(rng)[-1] = (b"", b"")


def _early_last_chunk(draft: Draft, rng: random.Random) -> None:
    draft.chunked(rng).insert(0, (b"0", b""))


def _chunk_ends(draft: Draft, rng: random.Random) -> None:
    """End chunk lines with something other than CRLF."""
    draft.chunked(rng)
    draft.chunk_end = rng.choice((b"\n", b"\r", b"\n\r", b" \r\n", b"\r\r\n", b"\0\r\n", b""))


def _trailers(draft: Draft, rng: random.Random) -> None:
    """Send trailers that are damaged, too many or forbidden."""
    draft.chunked(rng)
    draft.trailers = rng.choice(
        (
            [b"no colon"],
            [b": no name"],
            [b"X Y: space in the name"],
            [b"X : space before the colon"],
            [b"X: a\0b"],
            [b"X: a\rb"],
            [b" folded"],
            [b"X: a", b" folded"],
            [b"Content-Length: 5"],
            [b"Transfer-Encoding: chunked"],
            [b"X: " + b"y" * 70_000],
            [b"X-%d: y" % n for n in range(300)],
            [b"HTTP/1.1 200 OK"],
        )
    )


def _field(*values: bytes) -> Damage:
    """Return a damage that adds one of some header lines, anywhere."""

    def damage(draft: Draft, rng: random.Random) -> None:
        draft.fields.insert(rng.randrange(len(draft.fields) + 1), rng.choice(values))

    return damage


def _fold_framing(draft: Draft, rng: random.Random) -> None:
    """Fold the line that says where the body ends."""
    rng.choice((draft.measure, draft.chunk))(rng)
    name, _, value = draft.fields.pop().partition(b":")
    draft.fields.append(name + b":" + rng.choice((b"\r\n ", b"\r\n\t", b"\n ", b"\r ")) + value)


def _space_framing(draft: Draft, rng: random.Random) -> None:
    """Put into the name of the line that says where the body ends what must not be there."""
    rng.choice((draft.measure, draft.chunk))(rng)
    name, _, value = draft.fields.pop().partition(b":")
    spoiled = rng.choice((name + b" ", name + b"\t", b" " + name, name + b"\0", name + b"\x0b"))
    draft.fields.append(spoiled + b":" + value)


def _many_fields(draft: Draft, rng: random.Random) -> None:
    """Send more or longer fields than a client should keep."""
    draft.fields += rng.choice(
        (
            [b"X-%d: y" % n for n in range(rng.choice((99, 101, 257, 2000)))],
            [b"X: " + b"y" * rng.choice((8_000, 17_000, 66_000, 200_000))],
            [b"x" * rng.choice((300, 70_000)) + b": y"],
        )
    )


def _status_lines(*values: bytes) -> Damage:
    """Return a damage with one of some status lines; ``%d`` is the status."""

    def damage(draft: Draft, rng: random.Random) -> None:
        draft.line = rng.choice(values).replace(b"%d", b"%d" % draft.status)

    return damage


def _line_ends(draft: Draft, rng: random.Random) -> None:
    """End the lines of the head with something other than CRLF."""
    draft.line_end = rng.choice((b"\n", b"\n", b"\r", b"\r\r\n", b"\n\r"))
    draft.head_end = rng.choice((draft.line_end, CRLF, b"\n"))


def _head_end(draft: Draft, rng: random.Random) -> None:
    draft.head_end = rng.choice((b"\n", b"\r", b" \r\n", b"\r\r\n", b""))


def _one_line_end(draft: Draft, rng: random.Random) -> None:
    """End one line of the head with something other than CRLF."""
    draft.fields.insert(
        rng.randrange(len(draft.fields) + 1),
        b"X-First: 1" + rng.choice((b"\n", b"\r", b"\r\r\n", b"\0")) + b"X-Second: 2",
    )


def _odd_interims(draft: Draft, rng: random.Random) -> None:
    """Send interim replies that are too many, damaged, or none that was asked for."""
    draft.interims = rng.choice(
        (
            [b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"],
            [b"HTTP/1.1 101 Switching Protocols\r\n\r\n"],
            [b"HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\n"],
            [b"HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\nhello"],
            [b"HTTP/1.1 100 Continue\r\nTransfer-Encoding: chunked\r\n\r\n"],
            [b"HTTP/1.1 100 Continue\r\nConnection: close\r\n\r\n"],
            [b"HTTP/1.0 100 Continue\r\n\r\n"],
            [b"HTTP/1.1 100\r\n\r\n"],
            [b"HTTP/1.1 102 \r\n\r\n", b"\r\n"],
            [b"HTTP/1.1 100 Continue\n\n"],
            [b"HTTP/1.1 100 Continue\r\n\r\n"] * rng.choice((20, 300, 5000)),
            [b"HTTP/1.1 103 Early Hints\r\nX: " + b"y" * 70_000 + b"\r\n\r\n"],
        )
    )


def _bodiless_with_body(draft: Draft, rng: random.Random) -> None:
    """Send a body with a status that cannot have one."""
    draft.status = rng.choice((204, 304))
    draft.line = b"HTTP/1.1 %d %s" % (draft.status, REASONS[draft.status])
    draft.behind += draft.content or b"{}"


def _bodiless_in_chunks(draft: Draft, rng: random.Random) -> None:
    """Announce chunks, and send them, with a status that cannot have a body."""
    draft.chunked(rng)
    draft.line = rng.choice((b"HTTP/1.1 204 No Content", b"HTTP/1.1 304 Not Modified"))


def _connection(draft: Draft, rng: random.Random) -> None:
    """Say something unusual about the connection."""
    draft.drop(b"connection")
    draft.fields += rng.choice(
        (
            [b"Connection: upgrade", b"Upgrade: h2c"],
            [b"Connection: close, keep-alive"],
            [b"Connection: keep-alive", b"Connection: close"],
            [b"Connection: x-close"],
            [b"Connection: ,close,"],
            [b"Connection: close\t"],
            [b"Proxy-Connection: close"],
            [b"Connection: Content-Length"],
            [b"Connection:"],
        )
    )


def _stray(draft: Draft, rng: random.Random) -> None:
    """Send something behind the reply that belongs to no request."""
    draft.behind += rng.choice(
        (
            CRLF,
            b"\n",
            CRLF * 5,
            b"\0",
            b" ",
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
            b"HTTP/1.1 420 No\r\nContent-Length: 12\r\n\r\n" + b'{"code":420}',
            b"HTTP/1.1 100 Continue\r\n\r\n",
            b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
            Draft(rng).render(),
        )
    )


def _in_front(draft: Draft, rng: random.Random) -> None:
    """Send something in front of the reply."""
    front = (
        CRLF,
        b"\n",
        CRLF * 3,
        b" ",
        b"\0",
        b"\xef\xbb\xbf",
        b"x",
        b"GET / HTTP/1.1\r\n\r\n",
    )
    draft.interims.insert(0, rng.choice(front))


#: Every kind of damage, by name.
DAMAGES: dict[str, Damage] = {
    "a length with a sign": _length(b"+%d", b"-%d", b"-1", b"-0", b"+0"),
    "a length with spaces": _length(b"%d %d", b"1 2", b" %d\t", b"\x0b%d", b"%d\x0c", b"\xa0%d"),
    "a length with underscores": _length(b"1_0", b"%d_", b"_%d"),
    "a length in hex": _length(b"0x%d", b"0x10", b"a", b"%dh"),
    "a huge length": _length(HUGE, b"18446744073709551616", b"9223372036854775808", b"4294967296"),
    "a length with leading zeros": _length(b"000%d", b"0" * 300 + b"%d"),
    "a list of lengths": _length(b"%d, %d", b"%d,%d", b"%d, 5", b"5, %d", b"%d,", b",%d", b"%d;q"),
    "no number as length": _length(b"", b"none", b"%d.0", b"1e1", b'"%d"', b"\xb2", b"\xd9\xa5"),
    "two lengths": _lengths,
    "a wrong length": _wrong_length,
    "no length": _missing_length,
    "another coding": _codings(b"gzip", b"identity", b"deflate", b"xchunked", b"chunkedx", b""),
    "chunked among others": _codings(
        b"gzip, chunked", b"chunked, gzip", b"gzip|chunked", b"chunked|gzip", b"identity, chunked"
    ),
    "chunked twice": _codings(b"chunked, chunked", b"chunked|chunked", b"chunked|Chunked"),
    "an odd spelling of chunked": _codings(
        b"CHUNKED", b"cHunked", b"chunked,", b",chunked", b"chunked ", b"\tchunked", b"chunked;q=1",
        b'"chunked"', b"chunked\x0b", b"chun\xc3\xafked", b"\x00chunked",
    ),
    "chunks and a length": _coding_and_length,
    "chunks announced, none sent": _coding_without_chunks,
    "an odd chunk size": _sizes(
        b"+%x", b"-%x", b"-1", b"0x%x", b"%x_", b"1_0", b" %x", b"%x ", b"%x\t", b"\t%x", b"",
        b"zz", b"%xg", b"%x,", b"%x.0", b"\xd9\xa5", b"%x\0", b"%x\r", b"%x\n",
    ),
    "a huge chunk size": _sizes(b"f" * 16, b"f" * 40, b"7fffffffffffffff", b"ffffffff", b"1" + b"0" * 16),
    "chunk sizes with many zeros": _sizes(b"0" * 20 + b"%x", b"0" * 5000 + b"%x"),
    "an odd chunk extension": _sizes(
        b"%x;", b"%x ;a", b"%x; a = b", b'%x;a="', b"%x;a\nb", b"%x;a\rb", b"%x;a\0", b"%x;\xff",
        b"%x a", b"%x;" + b"a" * 70_000, b'%x;a="\r\n0\r\n\r\n"',
    ),
    "chunk data of another size": _chunk_data,
    "no last chunk": _no_last_chunk,
    "an early last chunk": _early_last_chunk,
    "odd ends of chunk lines": _chunk_ends,
    "odd trailers": _trailers,
    "a folded line": _field(b"X: a\r\n b", b"X: a\r\n\tb", b"X:\r\n b", b"X: a\r\n ", b" X: a", b"\tX"),
    "a bare CR or LF": _field(b"X: a\rb", b"X: a\r", b"\rX: a", b"X\r: a", b"X: a\nY: b", b"X: \n"),
    "a NUL or another control": _field(b"X: a\0b", b"X\0: a", b"X: \x01", b"X: \x7f", b"\0", b"X: \x08"),
    "space around a name": _field(b"X : a", b"X\t: a", b"X Y: a", b"X\xa0: a", b"X\x0b: a"),
    "no name": _field(b": a", b":", b" : a", b"no colon", b"HTTP/1.1 200 OK", b"=a: b", b'"X": a'),
    "not ASCII": _field(b"X: \xff\xfe", b"X: caf\xc3\xa9", b"\xffX: a", b"caf\xc3\xa9: a", b"X\x80: a"),
    "a folded framing line": _fold_framing,
    "an odd framing name": _space_framing,
    "too much in the head": _many_fields,
    "another version": _status_lines(
        b"HTTP/1.0 %d OK", b"HTTP/2.0 %d OK", b"HTTP/2 %d OK", b"HTTP/0.9 %d OK", b"HTTP/1.2 %d OK",
        b"HTTP/1.10 %d OK", b"HTTP/11 %d OK", b"HTTP/1.1x %d OK", b"http/1.1 %d OK", b"ICY %d OK",
        b"HTTPS/1.1 %d OK", b"HTTP/1. 1 %d OK", b"HTTP/1,1 %d OK", b"HTTP/-1.1 %d OK",
    ),
    "no reason": _status_lines(b"HTTP/1.1 %d ", b"HTTP/1.1 %d"),
    "no number as status": _status_lines(
        b"HTTP/1.1 OK", b"HTTP/1.1 2x0 OK", b"HTTP/1.1 20 OK", b"HTTP/1.1 2000 OK", b"HTTP/1.1 +20 OK",
        b"HTTP/1.1 -200 OK", b"HTTP/1.1 099 OK", b"HTTP/1.1 000 OK", b"HTTP/1.1 999 OK", b"HTTP/1.1",
        b"HTTP/1.1 \xd9\xa2\xd9\xa0\xd9\xa0 OK", b"HTTP/1.1 2_0 OK", b"HTTP/1.1 0200 OK",
    ),
    "odd spaces in the status line": _status_lines(
        b"HTTP/1.1  %d OK", b"HTTP/1.1\t%d OK", b" HTTP/1.1 %d OK", b"HTTP/1.1 %d  OK", b"HTTP/1.1 %d\tOK",
        b"HTTP/1.1 %dOK", b"HTTP/1.1%d OK", b"HTTP /1.1 %d OK", b"HTTP/1.1 %d OK ", b"HTTP/1.1\x0b%d OK",
    ),
    "an odd reason": _status_lines(
        b"HTTP/1.1 %d O\0K", b"HTTP/1.1 %d O\rK", b"HTTP/1.1 %d \xff\xfe", b"HTTP/1.1 %d \xc3\xa9",
        b"HTTP/1.1 %d " + b"x" * 70_000, b"HTTP/1.1 %d O\nK", b"HTTP/1.1 %d O\x7fK",
    ),
    "odd line ends": _line_ends,
    "an odd end of the head": _head_end,
    "one odd line end": _one_line_end,
    "odd interim replies": _odd_interims,
    "a body that cannot be": _bodiless_with_body,
    "chunks that cannot be": _bodiless_in_chunks,
    "an odd Connection": _connection,
    "a stray reply": _stray,
    "something in front": _in_front,
}  # fmt: skip


def _cut(data: bytes, rng: random.Random) -> bytes:
    """Cut a reply off, more often around its head's end than elsewhere."""
    near = data.find(b"\r\n\r\n") + rng.randrange(-2, 8)
    return data[: max(rng.choice((rng.randrange(len(data)), near)), 0)]


def _flip(data: bytes, rng: random.Random) -> bytes:
    """Change, drop, double or move single bytes."""
    raw = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = rng.randrange(len(raw)) if raw else 0
        kind = rng.randrange(4)
        if kind == 0:
            raw[at : at + 1] = bytes([rng.choice(b"\0\t\n\r ,:;+-0159aFx\x7f\x80\xff")])
        elif kind == 1:
            del raw[at : at + rng.randrange(1, 4)]
        elif kind == 2:
            raw[at:at] = raw[at : at + rng.randrange(1, 6)]
        else:
            raw[at:at] = rng.choice((CRLF, b"\n", b"\r", b" ", b"\0"))
    return bytes(raw)


def sound(rng: random.Random) -> Sound:
    """Return a well-formed reply and what it means."""
    draft = Draft(rng)
    ends = draft.chunks is not None or draft.status in BODILESS
    ends = ends or any(each.lower().startswith(b"content-length") for each in draft.fields)
    return Sound(draft.render(), draft.status, draft.content, draft.reusable, ends)


def replies(rng: random.Random) -> bytes:
    """Return what a server may send for one request: a third of it is well-formed."""
    draft = Draft(rng)
    for name in rng.sample(sorted(DAMAGES), rng.choice((0, 0, 0, 1, 1, 1, 1, 2, 3))):
        DAMAGES[name](draft, rng)
    data = draft.render()
    if rng.random() < 0.08:
        data = _cut(data, rng)
    if rng.random() < 0.08:
        data = _flip(data, rng)
    return data


def reply_streams() -> st.SearchStrategy[bytes]:
    """Return `replies` as a strategy, which shrinks by simplifying its random choices."""
    return st.builds(replies, st.randoms(use_true_random=False))
