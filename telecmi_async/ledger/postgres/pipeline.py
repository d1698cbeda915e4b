"""PostgreSQL pipeline: one connection and its thread, and how it recovers from a broken one.

Queries that are queued go to the server together: in one round trip, as one transaction, with
one wait for the disk. If one of them fails, none was done, and each is run again by itself. If
the connection breaks, each is run once more over a new one, with ``again`` set: the server's
functions recognise what they did before. If this fails too, the query fails with a
`StoreError`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence  # attrs reads it
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from attrs import frozen

from telecmi_async.errors import ConfigurationError, LedgerLost, StoreError, TelecmiError
from telecmi_async.ledger.job_thread import Job, JobThread
from telecmi_async.ledger.postgres.connector import set_for_transaction
from telecmi_async.ledger.postgres.schema import failure_of, is_undone

if TYPE_CHECKING:
    from collections.abc import Generator

    from telecmi_async.ledger.postgres.connector import PostgresConnector, WatchedConnection

_MOST_JOBS: Final = 64
_SHORTEST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 5.0
# The server shuts down, or it ended the connection.
_ENDED: Final = ("57P", "08")
_STATEMENT_POOLING: Final = (
    "the ledger needs transactions, and this pooler pools statements: set its pool_mode to "
    "transaction or session, or give the server's own address"
)

_Rows: TypeAlias = "list[tuple[Any, ...]]"
_Work: TypeAlias = "_Query | Callable[[WatchedConnection], Any]"


@frozen
class _Query:
    """One statement and its values."""

    sql: str
    values: Sequence[object]
    #: Whether the statement has one more place, for ``again``.
    takes_again: bool

    def run(self, connection: WatchedConnection, *, again: bool) -> Any:
        values = [*self.values, again] if self.takes_again else self.values
        return connection.execute(self.sql.encode(), values)

    def run_alone(self, connection: WatchedConnection, *, again: bool) -> _Rows:
        """Run it as a separate transaction, in one round trip."""
        rows: _Rows
        if connection.pooled:
            with connection.pipeline():  # one transaction, which ends with it
                set_for_transaction(connection)
                cursor = self.run(connection, again=again)
            rows = cursor.fetchall()
        else:
            rows = self.run(connection, again=again).fetchall()
        return rows


class PostgresPipeline:
    """One connection and its thread, opened when it is first needed.

    A commit waits for the disk if it is ``durable``. With ``separate``, queries of one round
    trip are transactions of their own, so that no lock is held while the next query waits for
    its lock.
    """

    def __init__(
        self, connector: PostgresConnector, *, durable: bool = True, separate: bool = False
    ) -> None:
        self._connector = connector
        self._durable = durable
        self._separate = separate
        self._connection: WatchedConnection | None = None
        self._pause = _SHORTEST_PAUSE
        self._thread: JobThread[_Work] = JobThread(
            "telecmi-ledger", serve=self._serve, close=self._close, most=_MOST_JOBS
        )

    async def fetch(self, sql: str, *values: object, takes_again: bool = False) -> _Rows:
        """Run a statement, and return its rows.

        With ``takes_again``, its last place says if it was run before.
        """
        rows: _Rows = await self._thread.do(_Query(sql, values, takes_again))
        return rows

    async def value(self, sql: str, *values: object, takes_again: bool = False) -> Any:
        """Run a statement that returns one value, as `fetch` does."""
        return (await self.fetch(sql, *values, takes_again=takes_again))[0][0]

    async def do(self, work: Callable[[WatchedConnection], Any]) -> Any:
        """Call a function with the connection, in the thread. It is never repeated."""
        return await self._thread.do(work)

    async def close(self) -> None:
        """Serve what is queued, and close the connection."""
        await self._thread.close()

    # -- in the thread

    def _serve(self, jobs: Sequence[Job[_Work]]) -> None:
        """Give each job its answer or its failure. All of them have the same deadline."""
        until = monotonic() + self._connector.timeout
        queries = [job.work for job in jobs if isinstance(job.work, _Query)]
        again = False
        try:
            if self._connector.lost is not None:
                raise self._connector.lost
            if len(jobs) == len(queries) > 1:
                again = self._run_together(jobs, queries, until)
            for job in jobs:
                self._run_alone(job, until, again=again)
        except StoreError as error:  # there is no connection, for any of them
            for job in jobs:
                if not job.is_over:
                    job.fail(type(error)(*error.args))

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def _run_together(
        self, jobs: Sequence[Job[_Work]], queries: Sequence[_Query], until: float
    ) -> bool:
        """Run queries in one round trip; return whether they may have been done unnoticed."""
        connection = self._open(until)
        if self._separate and connection.pooled:
            return False  # a pooler may give each transaction to another server connection
        try:
            with connection.pipeline() as pipeline:
                set_for_transaction(connection)
                cursors: list[Any] = []
                for query in queries:
                    cursors.append(query.run(connection, again=False))
                    if self._separate:
                        pipeline.sync()
            answers = [cursor.fetchall() for cursor in cursors]
        except Exception as error:  # noqa: BLE001  # each gets its own when it is run alone
            lost = _close_if_lost(connection, error)
            # psycopg believes that statements are prepared which the server skipped.
            connection.close()
            return lost
        for job, answer in zip(jobs, answers, strict=True):
            job.succeed(answer)
        return False

    def _run_alone(self, job: Job[_Work], until: float, *, again: bool) -> None:
        """Run a query until there is an answer, or call a function once."""
        while not job.is_over:
            connection = self._open(until)
            try:
                if isinstance(job.work, _Query):
                    job.succeed(job.work.run_alone(connection, again=again))
                else:
                    with _without_silence_limit(connection):
                        job.succeed(job.work(connection))
            except TelecmiError as error:
                job.fail(error)
            except Exception as error:  # noqa: BLE001  # total on purpose: a task waits
                if connection.pooled and "statement pooling" in str(error):
                    job.fail(ConfigurationError(_STATEMENT_POOLING))
                    return
                lost = _close_if_lost(connection, error)
                again = again or lost
                may_repeat = isinstance(job.work, _Query) and monotonic() < until
                if not may_repeat or not (lost or is_undone(error)):
                    job.fail(failure_of(self._connector, connection, error))

    def _open(self, until: float) -> WatchedConnection:
        """Return the connection; if it broke, a new one, with attempts until a deadline."""
        first = self._connection is None
        closing = self._thread.closing
        while self._connection is None or self._connection.closed:
            try:
                self._connection = self._connector.open(durable=self._durable)
                self._pause = _SHORTEST_PAUSE
            except StoreError as error:
                # If there never was a connection, the settings are wrong, and waiting is vain.
                vain = first or isinstance(error, LedgerLost)
                if vain or closing.is_set() or monotonic() + self._pause > until:
                    raise
                closing.wait(self._pause)
                self._pause = min(2 * self._pause, _LONGEST_PAUSE)
        return self._connection


@contextlib.contextmanager
def _without_silence_limit(connection: Any) -> Generator[None]:
    """Let the server be silent for long: it loads contacts, or vacuums."""
    connection.silence, silence = None, connection.silence
    try:
        yield
    finally:
        connection.silence = silence


def _close_if_lost(connection: WatchedConnection, error: Exception) -> bool:
    """Return whether the connection broke, and close it if so.

    psycopg may raise an error of its own, without a state, where the server ended a pipeline.
    """
    from psycopg import OperationalError  # noqa: PLC0415  # an extra

    state = str(getattr(error, "sqlstate", None) or "")
    own = isinstance(error, OperationalError) and not state
    if connection.closed or own or state.startswith(_ENDED):
        connection.close()
        return True
    return False
