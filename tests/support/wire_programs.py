"""Random programs: what a user's program does, and what the server does to it.

A program is a value: services one after another, the calls that each of them places and when
these are cancelled, the time-outs, and the fate of each request and connection on the server.
`Program.of` derives it from a seed and a number, so that each can be run again.
"""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, NamedTuple

import attrs
from reply_bytes import DAMAGES

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["WORDS", "CallPlan", "ConnectionFate", "Fate", "Program", "Session", "Stray", "Word"]


class Word(NamedTuple):
    """What a server says to a request.

    Args:
        status: The HTTP status.
        body: The body; ``ID`` stands for the call's own ``request_id``.
        placed: Whether a phone may ring: false only if the call is refused.
        fields: More header lines.
        gateway: Whether it is a gateway's 502, the one reply that may be repeated although a
            phone may ring.
    """

    status: int
    body: bytes
    placed: bool = True
    fields: tuple[bytes, ...] = ()
    gateway: bool = False


def _accepted(**more: object) -> bytes:
    return json.dumps({"status": "progress", **more}).encode()


def _refused(code: int, **more: object) -> bytes:
    return json.dumps({"code": code, "msg": "no", **more}).encode()


PAGE = b"<html><h1>Oops</h1></html>"

#: What a server can say, by name.
WORDS: dict[str, Word] = {
    "accepted": Word(200, _accepted(request_id="ID", code=200)),
    "accepted, code as text": Word(200, _accepted(request_id="ID", cmi_code="cmi-200")),
    "accepted, nested": Word(200, _accepted(data={"request_id": "ID"}, code=200)),
    "accepted with 201": Word(201, _accepted(request_id="ID")),
    "200 without an id": Word(200, _accepted(code=200)),
    "an empty 200": Word(200, b""),
    "a page": Word(200, PAGE),
    "half an object": Word(200, b'{"code": 200, "request_id": "I'),
    "no content": Word(204, b""),
    "an id beside a refusal": Word(200, _refused(420, request_id="ID")),
    "an id beside a 502": Word(502, _refused(502, request_id="ID")),
    "a gateway's 502": Word(502, PAGE, gateway=True),
    "a gateway's 502, empty": Word(502, b"", gateway=True),
    "a gateway's 502, JSON": Word(502, b'{"message": "bad gateway"}', gateway=True),
    "a vague 502": Word(502, b'{"status": "error"}'),
    "a broken 502": Word(502, b'{"code": 50'),
    "a gateway's 500": Word(500, PAGE),
    "a gateway's 503": Word(503, PAGE),
    "a gateway's 504": Word(504, PAGE),
    "a gateway's 408": Word(408, PAGE),
    "a gateway's 499": Word(499, PAGE),
    "TeleCMI's 502": Word(502, _refused(502), placed=False),
    "501": Word(501, _refused(501), placed=False),
    "420": Word(420, _refused(420), placed=False),
    "420 in a 200": Word(200, _refused(420), placed=False),
    "422": Word(422, _refused(422), placed=False),
    "401": Word(401, b"", placed=False),
    "404": Word(404, PAGE, placed=False),
    "429": Word(429, _refused(429), placed=False),
    "429, at once": Word(429, b"", placed=False, fields=(b"Retry-After: 0",)),
    "429, later": Word(429, b"", placed=False, fields=(b"Retry-After: 1",)),
    "503, later": Word(503, PAGE, placed=False, fields=(b"Retry-After: 0",)),
    "moved": Word(307, b"", placed=False, fields=(b"Location: /v2/elsewhere",)),
}
_ACCEPTED = tuple(name for name in WORDS if name.startswith("accepted"))
_REFUSED = tuple(name for name, word in WORDS.items() if not word.placed)
_GATEWAY = tuple(name for name, word in WORDS.items() if word.gateway)
_OTHER = tuple(set(WORDS) - set(_ACCEPTED) - set(_REFUSED) - set(_GATEWAY))
# A 304 means that nothing happened: such a reply to a call that was placed is a lie.
_SAID = tuple(name for name in DAMAGES if "that cannot be" not in name)


@attrs.frozen
class Stray:
    """A second reply that belongs to no request.

    Args:
        word: What it says, under an id of its own.
        after: Seconds behind the reply; None: in the same segment, and the same write.
    """

    word: str
    after: float | None = None


@attrs.frozen
class Fate:
    """What the server does with one complete request.

    Args:
        word: What it says.
        seed: Makes the reply's form and its pieces.
        damage: A name of `reply_bytes.DAMAGES`, or "".
        delay: Seconds before it answers.
        cut: The share of the reply that is sent; 1: all of it.
        drip: Seconds between pieces of the reply; None: it is sent at once.
        ending: What follows: keep, close, reset, half-close or silence.
        stray: What comes behind the reply.
        plain: Whether the reply has the simplest form.
    """

    word: str = "accepted"
    seed: int = 0
    damage: str = ""
    delay: float = 0.0
    cut: float = 1.0
    drip: float | None = None
    ending: str = "keep"
    stray: Stray | None = None
    plain: bool = True

    @property
    def placed(self) -> bool:
        """Whether a phone may ring."""
        return WORDS[self.word].placed

    @property
    def repeatable(self) -> bool:
        """Whether our own policy may repeat the request.

        A 502 that lost its body on the way cannot be told from a gateway's.
        """
        word = WORDS[self.word]
        return not word.placed or word.gateway or (word.status == 502 and bool(self.damage))


#: What may happen to a connection before a whole request was read, and how often.
_CONNECTIONS = {
    "close at once": 3,
    "reset at once": 3,
    "silence at once": 1,
    "late": 1,  # it accepts, and reads after a while
    "a reply in front": 2,
    "a reply with the handshake": 2,  # TLS 1.2: it comes with the server's last message
    "close in the handshake": 1,
    "reset in the handshake": 1,
    "silence in the handshake": 1,
    "no TLS": 1,
    "close after the head": 2,
    "reset after the head": 2,
    "silence after the head": 1,
    "refusal after the head": 1,
    "close in the body": 2,
    "reset in the body": 2,
    "slow reading": 1,
    "close while idle": 3,
    "reset while idle": 2,
    "half-close while idle": 2,
    "a reply while idle": 3,
    "garbage while idle": 2,
    "line ends while idle": 2,
    "one reply each": 2,  # it closes after each reply, without a word about it
}


@attrs.frozen
class ConnectionFate:
    """What the server does with one connection.

    Args:
        kind: "" for nothing special, else one of the kinds above.
        at: Which request on the connection it concerns, from 0.
        after: Seconds, where something waits.
        word: What a stray reply says.
    """

    kind: str = ""
    at: int = 0
    after: float = 0.0
    word: str = "accepted"


@attrs.frozen
class CallPlan:
    """One call of a program.

    Args:
        fates: What happens to its first, second … complete request; the last is repeated.
        pause: Seconds before it is placed.
        cancel_after: Seconds after which it is cancelled; None: never.
        cancel_task: Whether then the task that awaits it is cancelled, and not the call.
    """

    fates: tuple[Fate, ...] = (Fate(),)
    pause: float = 0.0
    cancel_after: float | None = None
    cancel_task: bool = False


@attrs.frozen
class Session:
    """One service of a program.

    Args:
        calls: Its calls.
        way: How they are placed: together, in turn, staggered, or as a stream.
        in_flight: How many requests may be under way.
        close_after: Seconds after which another task closes the service; None: never.
        abandon_after: Seconds after which everything around the service is cancelled.
    """

    calls: tuple[CallPlan, ...]
    way: str = "together"
    in_flight: int = 8
    close_after: float | None = None
    abandon_after: float | None = None


@attrs.frozen
class Program:
    """A user's program, and a server's part in it.

    Args:
        seed: What it was derived from, with ``number``.
        number: Its number.
        sessions: Its services, one after another. They share a client, if it is the user's.
        connections: The fates of the first, second … connection; later ones have none.
        refused_for: Seconds for which the port refuses connections.
        timeouts: Seconds to connect, write, read, and in total.
        attempts: Of the retry policy, as ``at_most_once``.
        pool: How many connections a user's client may have.
        split: Makes the pieces of TLS records.
    """

    seed: int
    number: int
    sessions: tuple[Session, ...]
    connections: tuple[ConnectionFate, ...] = ()
    refused_for: float = 0.0
    timeouts: tuple[float, float, float, float] = (0.2, 0.2, 0.2, 0.3)
    attempts: int = 1
    at_most_once: bool = False
    pool: int = 20
    split: int = 0

    @classmethod
    def of(cls, seed: int, number: int) -> Program:
        """Return the program of a seed and a number."""
        rng = random.Random(f"program {seed}:{number}")
        read = rng.choice((0.1, 0.2, 0.3))
        total = read * rng.choice((1.0, 1.2, 2.0))
        calm = rng.random()  # some programs are nearly quiet, so that late faults are reached
        sessions = rng.choice((1, 1, 2, 3))
        return cls(
            seed=seed,
            number=number,
            sessions=tuple(_session(rng, calm, read) for _ in range(sessions)),
            connections=tuple(_connection(rng, calm) for _ in range(6)),
            refused_for=rng.choice((0.0,) * 12 + (0.002, 0.02, 1e9)),
            timeouts=(rng.choice((0.1, 0.3, 0.5)), 0.2, read, total),
            attempts=rng.choice((1, 2, 3)),
            at_most_once=rng.random() < 0.4,
            pool=rng.choice((1, 2, 20, 20)),
            split=rng.randrange(1 << 30),
        )

    @property
    def calls(self) -> tuple[CallPlan, ...]:
        """All calls, in the order in which they are numbered."""
        return tuple(call for session in self.sessions for call in session.calls)

    @property
    def longest(self) -> float:
        """Seconds within which it must end, on a machine that is ten times too slow."""
        pauses = sum(call.pause for call in self.calls)
        return 10.0 + 10 * (pauses + len(self.calls) * self.attempts * self.timeouts[3])

    def listing(self) -> str:
        """Return a text that shows what is unusual in it."""
        connect, write, read, total = (round(1000 * each) for each in self.timeouts)
        head = (
            f"program {self.number} of seed {self.seed}: attempts={self.attempts} "
            f"at_most_once={self.at_most_once} time-outs in ms: connect={connect} "
            f"write={write} read={read} total={total}; pool={self.pool}"
        )
        lines = [head]
        if self.refused_for:
            lines.append(f"  the port refuses for {self.refused_for:g} s")
        lines += [
            f"  connection {n}: {_told(fate)}"
            for n, fate in enumerate(self.connections)
            if fate.kind
        ]
        number = 0
        for n, session in enumerate(self.sessions):
            lines.append(f"  service {n}: {_told(session, without=('calls',))}")
            for call in session.calls:
                lines.append(f"    call {number}: {_told(call, without=('fates',))}")
                lines += [f"      request: {_told(fate)}" for fate in call.fates]
                number += 1
        return "\n".join(lines)

    def simpler(self) -> Iterator[Program]:
        """Yield programs that are a little simpler than this one."""
        for n, session in enumerate(self.sessions):
            rest = self.sessions[:n], self.sessions[n + 1 :]
            if len(self.sessions) > 1:
                yield attrs.evolve(self, sessions=rest[0] + rest[1])
            for smaller in _simpler_sessions(session):
                yield attrs.evolve(self, sessions=(*rest[0], smaller, *rest[1]))
        for n, fate in enumerate(self.connections):
            if fate.kind:
                fine = (*self.connections[:n], ConnectionFate(), *self.connections[n + 1 :])
                yield attrs.evolve(self, connections=fine)
        if self.refused_for:
            yield attrs.evolve(self, refused_for=0.0)


def _told(value: attrs.AttrsInstance, *, without: tuple[str, ...] = ()) -> str:
    """Return the fields of a value that are not the default."""
    fields = attrs.fields(type(value))
    told = [
        f"{field.name}={getattr(value, field.name)!r}"
        for field in fields
        if field.name not in without and getattr(value, field.name) != field.default
    ]
    return " ".join(told) or "nothing special"


def _simpler_sessions(session: Session) -> Iterator[Session]:
    if session.close_after is not None or session.abandon_after is not None:
        yield attrs.evolve(session, close_after=None, abandon_after=None)
    for n, call in enumerate(session.calls):
        before, after = session.calls[:n], session.calls[n + 1 :]
        if len(session.calls) > 1:
            yield attrs.evolve(session, calls=before + after)
        for simple in (CallPlan(), attrs.evolve(call, cancel_after=None, pause=0.0)):
            if simple != call:
                yield attrs.evolve(session, calls=(*before, simple, *after))
        for m, fate in enumerate(call.fates):
            for easier in _simpler_fates(fate):
                fates = (*call.fates[:m], easier, *call.fates[m + 1 :])
                smaller = attrs.evolve(call, fates=fates)
                yield attrs.evolve(session, calls=(*before, smaller, *after))


def _simpler_fates(fate: Fate) -> Iterator[Fate]:
    default = Fate()
    for name in ("damage", "delay", "cut", "drip", "ending", "stray", "plain"):
        if getattr(fate, name) != getattr(default, name):
            yield attrs.evolve(fate, **{name: getattr(default, name)})


def _word(rng: random.Random) -> str:
    kind = rng.choices((_ACCEPTED, _REFUSED, _GATEWAY, _OTHER), (50, 22, 10, 18))[0]
    return rng.choice(sorted(kind))


def _fate(rng: random.Random, calm: float, read: float) -> Fate:
    """Return the fate of a request; in a calm program most are accepted at once."""
    if rng.random() < calm * 0.9:
        return Fate(seed=rng.randrange(1 << 30), plain=rng.random() < 0.5)
    fate = Fate(word=_word(rng), seed=rng.randrange(1 << 30), plain=rng.random() < 0.3)
    if rng.random() < 0.25:
        fate = attrs.evolve(fate, damage=rng.choice(_SAID), plain=False)
    if rng.random() < 0.25:
        delay = rng.choice((0.001, 0.005, 0.02, read * 0.9, read * 1.1, 2 * read))
        fate = attrs.evolve(fate, delay=delay)
    if rng.random() < 0.12:
        fate = attrs.evolve(fate, drip=rng.choice((0.0, 0.0, 0.001, 0.005, read)))
    if rng.random() < 0.2:
        cut = rng.choice((0.0, 0.0, rng.random(), rng.random() / 4, 0.99, 1.0))
        ending = rng.choice(("close", "close", "reset", "half-close", "silence"))
        fate = attrs.evolve(fate, cut=cut, ending=ending)
    elif rng.random() < 0.15:
        ending = rng.choice(("close", "close", "reset", "half-close"))
        fate = attrs.evolve(fate, ending=ending)
    elif rng.random() < 0.25:
        after = rng.choice((None, None, None, 0.0, 0.003, 0.01))
        word = rng.choice(
            (*_ACCEPTED, "420", "429", "422", "a gateway's 502", "a gateway's 408")
        )
        fate = attrs.evolve(fate, stray=Stray(word, after))
    return fate


def _connection(rng: random.Random, calm: float) -> ConnectionFate:
    if rng.random() < max(calm, 0.5):
        return ConnectionFate()
    kind = rng.choices(list(_CONNECTIONS), list(_CONNECTIONS.values()))[0]
    return ConnectionFate(
        kind=kind,
        at=rng.choice((0, 0, 1, 2)),
        after=rng.choice((0.001, 0.003, 0.01, 0.03)),
        word=rng.choice(("accepted", "420", "429", "a gateway's 408", "a gateway's 502")),
    )


def _call(rng: random.Random, calm: float, read: float) -> CallPlan:
    call = CallPlan(
        fates=tuple(_fate(rng, calm, read) for _ in range(rng.choice((1, 2, 3)))),
        pause=rng.choice((0.0,) * 9 + (0.001, 0.005, 0.02, 0.15)),
    )
    if rng.random() < 0.2:
        after = rng.choice((0.0, 0.0, 0.0005, 0.001, 0.003, 0.01, 0.03, read))
        call = attrs.evolve(call, cancel_after=after, cancel_task=rng.random() < 0.4)
    return call


def _session(rng: random.Random, calm: float, read: float) -> Session:
    count = rng.choice((1, 2, 3, 4, 6, 8))
    session = Session(
        calls=tuple(_call(rng, calm, read) for _ in range(count)),
        way=rng.choices(("together", "in turn", "staggered", "stream"), (4, 5, 3, 2))[0],
        in_flight=rng.choice((1, 2, 8, 20)),
    )
    after = rng.choice((0.0, 0.001, 0.005, 0.02, read, 2 * read))
    if rng.random() < 0.12:
        return attrs.evolve(session, close_after=after)
    if rng.random() < 0.1:
        return attrs.evolve(session, abandon_after=after)
    return session
