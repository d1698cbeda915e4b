"""Questions: pressed keys and inbound calls, each answered once and within one time limit.

The caller has silence meanwhile, so one limit covers the store, the user's handler, and what it
awaits, even where it cannot be cancelled: the handler works in a separate task.

A question that is delivered twice gets the first answer again, and the handler, which may place a
call, does not run again. A question has no id, and the same key may be pressed twice. So it is a
repeat if it looks the same (payload and address) and

- the first one is still being answered; or
- it has a time, as inbound calls do, and comes within ten minutes; or
- no other question of its leg came in between, and it comes within ten minutes, or within two
  seconds if the answer asks at the same address again, as a menu does that can be repeated.

With a shared store the processes agree on that: the one that is first to put the announcement of
an answer there gives the answer, and puts it there for the others. A store that does not reply
delays one answer by two seconds at most: afterwards it is not asked until it works again.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from contextlib import suppress
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, cast
from urllib.parse import unquote

import anyio
from attrs import define, field

from telecmi_async.errors import StoreError
from telecmi_async.events import DigitsEvent, InboundRequest, parse_event
from telecmi_async.events.payload import MAX_PAYLOAD
from telecmi_async.events.store import StoredEvent

if TYPE_CHECKING:
    from telecmi_async.events.receiver.handler_runner import HandlerRunner
    from telecmi_async.events.receiver.handlers import Handlers
    from telecmi_async.events.store import EventStore

logger = logging.getLogger("telecmi_async")

# Seconds in which a repeat is recognised, and those in which one is that may be a new question.
_KEPT: Final = 600.0
_KEPT_IN_A_LOOP: Final = 2.0
_MOST_KEPT: Final = 2_000
_MOST_KEPT_BYTES: Final = 8 << 20
# How long the store may take: this part of the limit, and no more than so many seconds.
_STORE_SHARE: Final = 0.25
_STORE_SECONDS: Final = 2.0
_POLL: Final = 0.1
# How the keys of answers begin in a shared store. No key of an event does.
_KEY: Final = "answer."
_now: Final = time.time
_URL: Final = re.compile(r'"(https?://[^"]+)"')


@define(eq=False)
class _Answer:
    """The answer to a question: its call flow as JSON, once there is one."""

    digest: str  # what the question has in common with its repeats
    leg: str
    exact: bool  # whether the question has a time: then only a repeat looks the same
    loops: bool = False  # whether the flow asks at the same address again
    flow: bytes | None = None
    at: float = 0.0  # when it was given, by the wall clock, which all processes share
    number: int = 0  # sets it apart, in a shared store, from others to what looks the same

    def repeats(self, *, last: bool) -> bool:
        """Return whether a question that looks the same, asked now, is a repeat.

        ``last`` says that no other question of the leg came in between.
        """
        if self.flow is None:
            return True
        kept = _KEPT if self.exact or not self.loops else _KEPT_IN_A_LOOP
        return (last or self.exact) and _now() - self.at < kept


@define(eq=False)
class _Asked:
    """A question that is being answered here."""

    question: DigitsEvent | InboundRequest
    name: str
    path: str
    answer: _Answer
    #: Stores it as an event, beside the reply or before it.
    keep: Callable[[bool], Coroutine[object, object, None]]
    done: anyio.Event = field(factory=anyio.Event)
    #: Whether this process has announced to the others that it answers.
    claimed: bool = False


class Questions:
    """Answers the questions of one receiver; ``repeated`` is called for each repeat."""

    def __init__(
        self,
        handlers: Handlers,
        store: EventStore,
        runner: HandlerRunner,
        *,
        timeout: float | None,
        repeated: Callable[[], None],
    ) -> None:
        self._handlers = handlers
        self._store = store
        self._runner = runner
        self._timeout = timeout
        self._repeated = repeated
        self._store_seconds = (
            _STORE_SECONDS if timeout is None else min(_STORE_SECONDS, _STORE_SHARE * timeout)
        )
        self._answers: OrderedDict[str, _Answer] = OrderedDict()
        self._last: dict[str, _Answer] = {}
        self._bytes = 0
        #: Whether the store failed when it was used last.
        self.store_failed = False

    async def answer(
        self,
        question: DigitsEvent | InboundRequest,
        name: str,
        path: str,
        *,
        keep: Callable[[bool], Coroutine[object, object, None]],
    ) -> bytes:
        """Return the call flow, as JSON, that answers a question at an address.

        ``keep`` stores it as an event, beside the reply or before it, unless it is a repeat.
        """
        answer = _identify(question, name, path)
        earlier = self._answers.get(answer.digest)
        if earlier and earlier.repeats(last=self._last.get(answer.leg) is earlier):
            return await self._again(earlier)
        asked = _Asked(question, name, path, answer, keep)
        self._remember(answer)
        if self._runner.start(self._work, asked, self._left):
            with anyio.move_on_after(self._timeout):
                await asked.done.wait()
        else:  # on trio, if the receiver was not opened
            try:
                await self._work(asked)
            finally:
                self._left(asked)
        return self._settle(asked, None)

    async def _again(self, earlier: _Answer) -> bytes:
        """Return the answer that was given, or is about to be."""
        self._repeated()
        with anyio.move_on_after(self._timeout):
            while earlier.flow is None:  # noqa: ASYNC110  # events belong to one event loop
                await anyio.sleep(_POLL)
        return self._handlers.fallback if earlier.flow is None else earlier.flow

    def _remember(self, answer: _Answer) -> None:
        self._forget(answer.digest)
        self._answers[answer.digest] = self._last[answer.leg] = answer
        while len(self._answers) > _MOST_KEPT or self._bytes > _MOST_KEPT_BYTES:
            self._forget(next(iter(self._answers)))

    def _forget(self, digest: str) -> None:
        answer = self._answers.pop(digest, None)
        if answer is not None:
            self._bytes -= len(answer.flow or b"")
            if self._last.get(answer.leg) is answer:
                del self._last[answer.leg]

    async def _work(self, asked: _Asked) -> None:
        """Have a question answered: by another process, if it was asked there before."""
        with anyio.move_on_after(self._timeout):
            flow = await self._from_elsewhere(asked)
            if flow is None:
                await self._keep(asked)
                flow = await self._handlers.answer(asked.question, asked.name)
            else:
                self._repeated()
            self._settle(asked, flow)
        self._settle(asked, None)
        if asked.claimed:
            with suppress(StoreError), anyio.move_on_after(self._store_seconds):
                await self._put(asked.answer)

    async def _keep(self, asked: _Asked) -> None:
        """Store a question, beside its handler if that is possible."""
        if not self._runner.start(asked.keep, True):  # noqa: FBT003  # that it runs beside the reply
            with anyio.move_on_after(self._store_seconds):
                await asked.keep(False)  # noqa: FBT003  # as above

    def _left(self, asked: _Asked) -> None:
        """Answer a question whose task was cancelled: the receiver was closed."""
        if asked.answer.flow is None:
            self._settle(asked, self._handlers.fallback)
            logger.error(
                "the receiver was closed before the handler %s answered %r; the fallback answers",
                self._handlers.name_for(asked.question, asked.name),
                asked.question,
            )

    def _settle(self, asked: _Asked, flow: bytes | None) -> bytes:
        """Answer a question, unless that was done; without a flow it took too long."""
        answer = asked.answer
        if answer.flow is None:
            if flow is None:
                flow = self._handlers.fallback
                logger.error(
                    "the handler %s took more than %s s for %r; the fallback answers",
                    self._handlers.name_for(asked.question, asked.name),
                    self._timeout,
                    asked.question,
                )
            answer.flow, answer.at = flow, _now()
            answer.loops = _asks_at(asked.path, flow.decode())
            if self._answers.get(answer.digest) is answer:
                self._bytes += len(flow)
        asked.done.set()
        return answer.flow

    # -- other processes

    async def _from_elsewhere(self, asked: _Asked) -> bytes | None:
        """Return another process's answer; None if this one has to give it."""
        if not self._store.shared or self.store_failed:
            return None
        other: _Answer | None = None
        with anyio.move_on_after(self._store_seconds) as scope:
            try:
                other = await self._claim(asked)
            except Exception as error:  # noqa: BLE001  # of a store of the user's own
                said = str(error) if isinstance(error, StoreError) else type(error).__name__
                self._note_failure(said)
                return None
        if scope.cancelled_caught:
            self._note_failure(f"no reply in {self._store_seconds} s")
        if other is None:
            return None
        while other.flow is None:  # the time limit ends it
            await anyio.sleep(_POLL)
            with suppress(StoreError):
                for answer in await self._answers_of(other.leg):
                    if (answer.digest, answer.number) == (other.digest, other.number):
                        other = answer
        return other.flow

    async def _claim(self, asked: _Asked) -> _Answer | None:
        """Return the answer that another process gave or is about to give; or claim it."""
        mine = asked.answer
        answers = await self._answers_of(mine.leg)
        for answer in answers:
            if answer.digest == mine.digest and answer.repeats(last=answer is answers[-1]):
                return answer
        if answers and not mine.exact:
            mine.number = 1 + max(answer.number for answer in answers)
        # Of several who put the same, one is first.
        asked.claimed = await self._put(mine)
        return None if asked.claimed else mine

    async def _answers_of(self, leg: str) -> list[_Answer]:
        """Return the answers that the processes gave to a leg's questions, oldest first."""
        found: dict[tuple[str, int], _Answer] = {}
        for stored in await self._store.get([f"answers.{leg}"]):
            # What a person who knows the address sends to a webhook has another key.
            if stored.key.startswith(_KEY):
                answer = _read(stored)
                found[answer.digest, answer.number] = answer
        return list(found.values())

    async def _put(self, answer: _Answer) -> bool:
        """Keep an answer for the other processes; return False if it is there already.

        It is kept as an event, for ten minutes. Without a flow it says that one is coming.
        """
        flow = None if answer.flow is None else answer.flow.decode()
        fields = [
            *(answer.digest, answer.leg, answer.exact, answer.loops),
            *(flow, answer.at, answer.number),
        ]
        payload = json.dumps({"answer": fields}).encode()
        if len(payload) > MAX_PAYLOAD:
            return False
        key = f"{_KEY}{answer.digest}.{answer.number}.{flow is None}"
        ids = (f"answers.{answer.leg}",)
        event = parse_event(payload)
        return await self._store.put(
            StoredEvent(event, key, ids, matched=False, payload=payload)
        )

    def _note_failure(self, problem: str) -> None:
        if not self.store_failed:
            logger.warning(
                "the event store fails (%s): until it works again, a question that is delivered to "
                "two processes is answered by both",
                problem,
            )
        self.store_failed = True


def _read(stored: StoredEvent) -> _Answer:
    """Return an answer that `Questions` kept in a store."""
    digest, leg, exact, loops, flow, at, number = cast(
        "tuple[str, str, bool, bool, str | None, float, int]", stored.event.raw["answer"]
    )
    given = None if flow is None else flow.encode()
    return _Answer(digest, leg, exact, loops, given, at, number)


def _identify(question: DigitsEvent | InboundRequest, name: str, path: str) -> _Answer:
    """Return what a question has in common with its repeats only, not answered yet."""
    seen = json.dumps([question.raw, name, path.partition("?")[2]], sort_keys=True)
    digest = blake2b(seen.encode(), digest_size=16).hexdigest()
    return _Answer(digest, question.cmiuuid or digest, exact=question.time is not None)


def _asks_at(path: str, flow: str) -> bool:
    """Return whether a call flow, as JSON, asks at the address with a path."""
    plain, mark, query = path.partition("?")
    # What comes before these two parts, the server or a framework may have taken away.
    tail = "/".join(plain.rstrip("/").split("/")[-2:]) + mark + query
    return any(unquote(url).endswith(unquote(tail)) for url in _URL.findall(flow))
