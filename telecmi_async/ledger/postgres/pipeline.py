"""A connection to PostgreSQL with a thread of its own, and what happens when it breaks.

psycopg's own async connections know asyncio only. A thread serves both event loops, and what
waits while it works goes to the server together: in one round trip, as one transaction, with
one wait for the disk. If something in it fails, nothing of it was done, and each question is
put again by itself.

If the connection breaks, nobody knows whether the transaction was committed. Each question is
then put once more over a new connection, and says so (``again``): the server's functions
recognise what they did before. If there is no new connection, or this fails too, the question
has a `StoreError`.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Sequence  # attrs reads it
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import anyio
from anyio import lowlevel
from attrs import define, frozen

from telecmi_async.errors import StoreError, TelecmiError
from telecmi_async.ledger.waiter import Waiter, wake_waiters

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from psycopg import Connection

    from telecmi_async.ledger.postgres.connector import PostgresConnector

__all__ = ["PostgresPipeline"]

_TOGETHER: Final = 64
_SHORTEST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 5.0
# Deadlock and serialisation failure: the server undid it, and it may be put again.
_UNDONE: Final = ("40001", "40P01")
# The server ends, or it ended the connection.
_ENDED: Final = ("57P", "08")

_Rows: TypeAlias = "list[tuple[Any, ...]]"
_Connection: TypeAlias = "Connection[tuple[Any, ...]]"
_Work: TypeAlias = "_Question | Callable[[_Connection], Any]"


@frozen
class _Question:
    """What the server is asked."""

    sql: str
    values: Sequence[object]
    #: Whether the statement has one more place, for ``again``.
    says_again: bool

    def put(self, connection: _Connection, *, again: bool) -> Any:
        values = [*self.values, again] if self.says_again else self.values
        return connection.execute(self.sql.encode(), values)


@define(eq=False, kw_only=True)
class _Job(Waiter[Any]):
    """Something to do, and who waits for it."""

    work: _Work
    #: Whether there is an answer or a failure.
    is_over: bool = False

    def end(self, answer: Any) -> None:
        self.answer, self.is_over = answer, True

    def fail(self, failure: TelecmiError) -> None:
        self.failure, self.is_over = failure, True


class PostgresPipeline:
    """One connection and its thread, opened when it is first needed.

    Args:
        door: Where to.
        durable: Whether a commit waits for the disk.
        apart: Whether questions that are put together are transactions of their own, so that
            no lock is held while the next one waits for its own.
    """

    def __init__(
        self, door: PostgresConnector, *, durable: bool = True, apart: bool = False
    ) -> None:
        self._door = door
        self._durable = durable
        self._apart = apart
        self._waiting: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._connection: _Connection | None = None
        self._pause = _SHORTEST_PAUSE

    # -- in the event loop

    async def ask(self, sql: str, *values: object, says_again: bool = False) -> _Rows:
        """Put a question, and return the rows of the answer.

        Who is cancelled before the question is put, puts none; after that the answer is
        waited for.

        Args:
            sql: One statement.
            values: Its values.
            says_again: Whether it has a last place that tells if it was put before.

        Raises:
            StoreError: It has no answer.
        """
        rows: _Rows = await self._wait(_Question(sql, values, says_again))
        return rows

    async def value(self, sql: str, *values: object, says_again: bool = False) -> Any:
        """Put a question that has one value for an answer, as `ask` does."""
        return (await self.ask(sql, *values, says_again=says_again))[0][0]

    async def do(self, work: Callable[[_Connection], Any]) -> Any:
        """Have something done with the connection, in the thread. It is not repeated.

        Raises:
            StoreError: It failed.
        """
        return await self._wait(work)

    async def _wait(self, work: _Work) -> Any:
        await lowlevel.checkpoint_if_cancelled()
        job = _Job(work=work)
        with self._lock:
            if self._closing.is_set():
                raise StoreError("the ledger is closed")
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._serve, name="telecmi_async ledger", daemon=True
                )
                self._thread.start()
            self._waiting.put(job)
        return await job.wait()

    async def close(self) -> None:
        """Answer what was asked, and close the connection."""
        with self._lock:
            self._closing.set()
            self._waiting.put(None)
        if self._thread is not None:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(self._thread.join)

    # -- in the thread

    def _serve(self) -> None:
        closing = False
        while not closing:
            taken = [self._waiting.get()]
            with contextlib.suppress(queue.Empty):
                while len(taken) < _TOGETHER:
                    taken.append(self._waiting.get_nowait())
            closing = None in taken
            jobs = [job for job in taken if job is not None]
            self._answer(jobs)
            wake_waiters(jobs)
        if self._connection is not None:
            self._connection.close()

    def _answer(self, jobs: Sequence[_Job]) -> None:
        """Find each job's answer, or its failure. All of them have the same time for it."""
        until = monotonic() + self._door.timeout
        questions = [job.work for job in jobs if isinstance(job.work, _Question)]
        again = False
        try:
            if len(jobs) == len(questions) > 1:
                again = self._put_together(jobs, questions, until)
            for job in jobs:
                self._put_alone(job, until, again=again)
        except StoreError as error:  # there is no connection, for none of them
            for job in jobs:
                if not job.is_over:
                    job.fail(StoreError(*error.args))

    def _put_together(
        self, jobs: Sequence[_Job], questions: Sequence[_Question], until: float
    ) -> bool:
        """Put questions in one round trip; tell if nobody knows whether they were put."""
        connection = self._open(until)
        try:
            with connection.pipeline() as pipeline:
                cursors: list[Any] = []
                for question in questions:
                    cursors.append(question.put(connection, again=False))
                    if self._apart:
                        pipeline.sync()
            answers = [cursor.fetchall() for cursor in cursors]
        except Exception as error:  # noqa: BLE001  # each has its own, when it is put alone
            lost = _is_lost(connection, error)
            # psycopg takes statements for prepared that the server left out after the error.
            connection.close()
            return lost
        for job, answer in zip(jobs, answers, strict=True):
            job.end(answer)
        return False

    def _put_alone(self, job: _Job, until: float, *, again: bool) -> None:
        """Put a question until there is an answer, or do something once.

        Raises:
            StoreError: There is no connection.
        """
        while not job.is_over:
            connection = self._open(until)
            try:
                if isinstance(job.work, _Question):
                    job.end(job.work.put(connection, again=again).fetchall())
                else:
                    with _however_long(connection):
                        job.end(job.work(connection))
            except TelecmiError as error:
                job.fail(error)
            except Exception as error:  # noqa: BLE001  # whatever it is, somebody waits
                lost = _is_lost(connection, error)
                again = again or lost
                undone = getattr(error, "sqlstate", None) in _UNDONE
                may_repeat = isinstance(job.work, _Question) and monotonic() < until
                if not may_repeat or not (lost or undone):
                    job.fail(StoreError(f"the ledger's database failed ({_named(error)})"))

    def _open(self, until: float) -> _Connection:
        """Return the connection; if it broke, a new one, tried for until a moment.

        Raises:
            StoreError: There is none to be had.
        """
        first = self._connection is None
        while self._connection is None or self._connection.closed:
            try:
                self._connection = self._door.open(durable=self._durable)
                self._pause = _SHORTEST_PAUSE
            except StoreError:
                # Where there never was one, something is wrong that waiting does not cure.
                if first or self._closing.is_set() or monotonic() + self._pause > until:
                    raise
                self._closing.wait(self._pause)
                self._pause = min(2 * self._pause, _LONGEST_PAUSE)
        return self._connection


@contextlib.contextmanager
def _however_long(connection: Any) -> Generator[None]:
    """Let the server be silent for a while: it loads, or tidies up."""
    connection.silence, silence = None, connection.silence
    try:
        yield
    finally:
        connection.silence = silence


def _is_lost(connection: _Connection, error: Exception) -> bool:
    """Tell whether the connection broke, and close it then."""
    if connection.closed or str(getattr(error, "sqlstate", "")).startswith(_ENDED):
        connection.close()
        return True
    return False


def _named(error: Exception) -> str:
    """Name an error without its words: they may repeat a row's values."""
    state = getattr(error, "sqlstate", None)
    return f"{type(error).__name__}, {state}" if state else type(error).__name__
