"""HTTP exchange: one request and its reply on one connection, without any input or output.

llhttp, by way of httptools, parses replies. This module adds limits on every part of a reply,
and the answer to one question: whether the connection may carry another request. It may not if
anything arrived that belongs to no reply, be it a stray line end: the next call would take it
for its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import httptools

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Replies of TeleCMI have a few hundred bytes. The largest body, in bytes.
LARGEST_BODY: Final = 1 << 20
#: The largest head, interim replies included; and what chunks and trailers may add to a body.
LARGEST_FRAMING: Final = 1 << 16
_MOST_HEADERS = 256
_MOST_INTERIM_REPLIES = 8
_LINE_ENDS = b"\r\n"
_LENGTHS = frozenset({b"content-length", b"transfer-encoding"})


class ReplyError(Exception):
    """A reply that cannot be read; the text quotes nothing of it."""


def encode_head(target: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return the head of a POST to ``target``, a path with its query."""
    lines = b"".join([b"%b: %b\r\n" % header for header in headers])
    return b"POST %b HTTP/1.1\r\n%b\r\n" % (target, lines)


class Exchange:
    """The reply to one request, as it arrives.

    `receive` is given all bytes that arrive, until it returns True; `end` is called if no more can
    come.
    """

    __slots__ = (
        "_body",
        "_body_size",
        "_complete",
        "_interim",
        "_length_known",
        "_parser",
        "_reading_body",
        "_size",
        "headers",
        "reusable",
        "status",
    )

    def __init__(self) -> None:
        self.status = 0
        #: Names in lower case, and values.
        self.headers: list[tuple[bytes, bytes]] = []
        #: Whether the connection may carry another request after this reply.
        self.reusable = False
        self._parser = httptools.HttpResponseParser(self)
        self._body: list[bytes] = []
        self._body_size = 0
        self._size = 0  # of all bytes
        self._interim = 0
        self._reading_body = False
        self._length_known = False
        self._complete = False

    @property
    def body(self) -> bytes:
        """The body, without the framing of chunks."""
        return self._body[0] if len(self._body) == 1 else b"".join(self._body)

    def header(self, name: bytes) -> str | None:
        """Return the value of the first header of a name in lower case, if there is one."""
        for each, value in self.headers:
            if each == name:
                return value.decode("latin-1")
        return None

    def receive(self, data: bytes) -> bool:
        """Take bytes that arrived; return whether the reply is complete."""
        if not self._size and data[:1] != b"H":
            raise ReplyError("the reply is not HTTP")
        self._size += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self._complete:
                raise _reason(error) from None
            self.reusable = False  # what follows the reply is not even HTTP
        if self._complete:
            self.reusable = self.reusable and self._ends_with(data)
        elif self._size > LARGEST_FRAMING + (LARGEST_BODY if self._reading_body else 0):
            raise ReplyError("the reply is too large")
        return self._complete

    def end(self) -> None:
        """Note that the server closed the connection, which completes some replies."""
        if not self._complete and (self._length_known or not self._reading_body):
            raise ReplyError("the connection was closed before the reply was complete")
        self._complete = True
        self.reusable = False

    def _ends_with(self, data: bytes) -> bool:
        """Return whether ``data`` ends with the reply: the parser skips stray line ends."""
        last = self._body[-1] if self._body and self._coding() is None else b""
        if last and data[-1] == last[-1] and last[-1] not in _LINE_ENDS:
            return True
        expected = len(last) - len(last.rstrip(_LINE_ENDS)) if last else len(b"\r\n\r\n")
        return len(data) - len(data.rstrip(_LINE_ENDS)) == expected

    def _coding(self) -> bytes | None:
        """Return the transfer coding, or None without one."""
        found = [value for name, value in self.headers if name == b"transfer-encoding"]
        return b", ".join(found).lower() if found else None

    # -- what httptools calls

    def on_message_begin(self) -> None:
        """Note that a reply begins: this one, or one that follows it."""
        self.reusable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; a trailer is ignored."""
        if self._complete or self._reading_body:
            return
        if len(self.headers) == _MOST_HEADERS:
            raise ReplyError("the reply has too many headers")
        name = name.lower()
        if name in _LENGTHS:
            self._length_known = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Check the head of a reply; the head of an interim reply (1xx) is dropped."""
        if self._complete:
            return
        status: int = self._parser.get_status_code()
        if self._parser.get_http_version() not in {"1.0", "1.1"}:
            raise ReplyError("the reply is not of HTTP/1.1")
        if self._coding() not in {None, b"chunked"}:
            raise ReplyError("the reply has an unknown transfer coding")
        self.status = status
        if status == 101:
            raise ReplyError("the server switches to another protocol")
        if status >= 200:
            self._reading_body = True
            return
        self._interim += 1
        if self._interim > _MOST_INTERIM_REPLIES:
            raise ReplyError("the reply has too many interim replies")
        self.headers.clear()
        self._length_known = False

    def on_body(self, data: bytes) -> None:
        """Keep a piece of the body."""
        if self._complete:
            return
        self._body_size += len(data)
        if self._body_size > LARGEST_BODY:
            raise ReplyError("the reply is too large")
        self._body.append(data)

    def on_message_complete(self) -> None:
        """Note that the reply is complete, unless it was an interim one."""
        if self._reading_body and not self._complete:
            self._complete = True
            self.reusable = self._parser.should_keep_alive() and not any(
                # Versions of llhttp differ in what they make of spaces behind the word.
                name == b"connection" and b"close" in value.lower()
                for name, value in self.headers
            )


def _reason(error: Exception) -> ReplyError:
    """Return why a reply cannot be parsed."""
    cause = error.__context__
    return cause if isinstance(cause, ReplyError) else ReplyError("the reply is not valid HTTP")
