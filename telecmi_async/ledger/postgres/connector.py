"""PostgreSQL connector: opens connections, and keeps the password out of errors and logs.

A connection may lead through a pooler such as PgBouncer, which hands each transaction to any of
its server connections. A setting of the session would then be missing where it is needed, and
would stay for other clients; a prepared statement likewise. So through a pooler all settings
are made anew in each transaction, for this transaction alone, and nothing is prepared.
"""

from __future__ import annotations

import contextlib
import functools
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, cast

from telecmi_async._internal.secrets import Redactor, Secret
from telecmi_async.errors import ConfigurationError, LedgerLost, StoreError

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from psycopg import Connection

    class WatchedConnection(Connection[tuple[Any, ...]]):
        """A connection that breaks when the server is silent for too long."""

        #: For how many seconds the server may be silent; ``None`` for no limit.
        silence: float | None
        #: Whether it leads through a pooler.
        pooled: bool
        #: The schema, ``synchronous_commit`` and ``statement_timeout``.
        settings: tuple[str, str, str]


#: What identifies the ledger's tables. A role that may not use the schema may ask so, too.
IDENTITY: Final = (
    "(SELECT c.oid::bigint FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE n.nspname = %s AND c.relname = 'migration')"
)
# Temporary tables come last: another client of a pooler may have left one behind.
_SETTINGS: Final = (
    "SELECT set_config('search_path', quote_ident(v.name) || ', pg_temp', v.here),"
    " set_config('synchronous_commit', v.durable, v.here),"
    " set_config('statement_timeout', v.timeout, v.here)"
    " FROM (VALUES (%s, %s, %s, %s)) AS v (name, durable, timeout, here)"
)

#: For how many seconds the server may be silent, beyond the time a statement may take.
GRACE: Final = 2.0


def set_for_transaction(connection: WatchedConnection) -> None:
    """Make the settings of the transaction that is under way, if a pooler has none of them."""
    if connection.pooled:
        connection.execute(_SETTINGS, (*connection.settings, True))


class PostgresConnector:
    """Opens connections to a server, by a URL or key-value string as libpq takes it.

    A broken connection is opened again for ``timeout`` seconds, and the server may take as long
    for an answer.
    """

    def __init__(self, conninfo: str, *, schema: str, timeout: float) -> None:
        given = Secret(conninfo)
        del conninfo  # a traceback may show locals
        self.schema = schema
        self.timeout = timeout
        #: Whether the latest connection leads through a pooler.
        self.through_pooler = False
        #: What identifies the schema's tables, and their version, once they are there.
        self.identity: int | None = None
        self.version = 0
        #: Why the ledger must not be used again, if its schema is another one than before.
        self.lost: LedgerLost | None = None
        self._parameters = Secret(_parse(given))
        password = self._known().get("password")
        self._redactor = Redactor(Secret(str(password or "")))

    def _known(self) -> Mapping[str, Any]:
        return cast("Mapping[str, Any]", self._parameters.reveal())

    def open(self, *, durable: bool = True) -> WatchedConnection:
        """Open a connection; a durable one waits for the server's disk at each commit."""
        import psycopg  # noqa: PLC0415  # an extra
        from psycopg.types.numeric import Int8Dumper  # noqa: PLC0415  # an extra

        try:
            connection: Any = _watched_connection().connect(autocommit=True, **self._known())
            connection.silence = self.timeout + GRACE
            # One type for all numbers: statements are prepared once.
            connection.adapters.register_dumper(int, Int8Dumper)
            backend, schema = connection.execute(
                f"SELECT pg_backend_pid(), {IDENTITY}", (self.schema,)
            ).fetchone()
            # A pooler makes up the process id that it gives its clients.
            connection.pooled = backend != connection.info.backend_pid
            connection.settings = (
                self.schema, "on" if durable else "off", str(int(self.timeout * 1000))
            )  # fmt: skip
            if connection.pooled:
                connection.prepare_threshold = None
            else:
                connection.execute(_SETTINGS, (*connection.settings, False))
        except psycopg.Error as error:
            reason = self._redactor.text(" ".join(str(error).split())[:300])
        else:
            if self.identity not in {None, schema}:
                connection.close()
                raise self.lose()
            self.through_pooler = connection.pooled
            return cast("WatchedConnection", connection)
        # Raised outside of `except`, or it would carry a foreign error whose frames hold the
        # password.
        raise StoreError(f"the ledger's database cannot be reached ({reason})")

    def lose(self) -> LedgerLost:
        """Return the error of a schema that was replaced; every query raises it from now on."""
        self.lost = LedgerLost(
            "the ledger failed: its schema was dropped or replaced, or this is another database "
            "than before"
        )
        return self.lost


@functools.cache
def _watched_connection() -> type[Any]:
    """Return a class of connections that break when the server is silent: it may be frozen."""
    from psycopg import Connection, OperationalError  # noqa: PLC0415  # an extra

    class Watched(Connection[tuple[Any, ...]]):
        silence: float | None = None

        def wait(self, gen: Any, *more: Any, **named: Any) -> Any:
            watched = gen if self.silence is None else self._watch(gen, self.silence)
            return super().wait(watched, *more, **named)

        def _watch(self, gen: Any, silence: float) -> Generator[Any, Any, Any]:
            until = monotonic() + silence
            try:
                wanted = next(gen)
                while True:
                    ready = yield wanted
                    if ready:
                        until = monotonic() + silence
                    elif monotonic() > until:
                        self.close()
                        raise OperationalError("the server is silent")
                    wanted = gen.send(ready)
            except StopIteration as end:
                return end.value

    return Watched


def _parse(given: Secret) -> Mapping[str, Any]:
    """Return the parameters of a connection string, and this package's defaults."""
    try:
        from psycopg import ProgrammingError  # noqa: PLC0415  # an extra
        from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415  # an extra
    except ImportError:
        raise ConfigurationError(
            "PostgresLedger needs psycopg: pip install 'telecmi-async[postgres]'"
        ) from None
    known: dict[str, Any] | None = None
    with contextlib.suppress(ProgrammingError, TypeError, AttributeError, ValueError):
        known = dict(conninfo_to_dict(given.reveal()))
    if known is None:  # libpq's own message repeats the string
        raise ConfigurationError(
            "PostgresLedger needs an address in libpq's form, such as "
            "postgresql://user:password@host:5432/database; letters such as / or @ in a "
            "password are written in percent-encoding"
        )
    # A machine that vanished is noticed within half a minute.
    return {
        "connect_timeout": 5,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 20_000,
        "application_name": "telecmi_async",
        **known,
    }
