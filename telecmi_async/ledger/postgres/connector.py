"""PostgreSQL connector: opens connections, and keeps the password out of errors and logs."""

from __future__ import annotations

import contextlib
import functools
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from telecmi_async._internal.secrets import Redactor, Secret
from telecmi_async.errors import ConfigurationError, StoreError

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from psycopg import Connection

#: For how many seconds the server may be silent, beyond the time a statement may take.
GRACE: Final = 2.0


class PostgresConnector:
    """Opens connections to a server.

    Args:
        conninfo: A URL or key-value string as libpq takes it; it may hold a password.
        schema: The schema of the ledger's tables.
        timeout: For how many seconds a broken connection is opened again, and how long the
            server may take for an answer.

    Raises:
        ConfigurationError: psycopg is not installed, or libpq does not take the string.
    """

    def __init__(self, conninfo: str, *, schema: str, timeout: float) -> None:
        given = Secret(conninfo)
        del conninfo  # a traceback may show locals
        self.schema = schema
        self.timeout = timeout
        self._parameters = Secret(_parse(given))
        password = self._known().get("password")
        self._redactor = Redactor(Secret(str(password or "")))

    def _known(self) -> Mapping[str, Any]:
        known: Mapping[str, Any] = self._parameters.reveal()  # type: ignore[assignment]  # the secret is a mapping
        return known

    def open(self, *, durable: bool = True) -> Connection[tuple[Any, ...]]:
        """Open a connection.

        Args:
            durable: Whether a commit waits for the server's disk.

        Raises:
            StoreError: The server cannot be reached, or rejects the connection.
        """
        import psycopg  # noqa: PLC0415  # an extra
        from psycopg.types.numeric import Int8Dumper  # noqa: PLC0415  # an extra

        try:
            made: Any = _watched_connection().connect(autocommit=True, **self._known())
            made.silence = self.timeout + GRACE
            connection: Connection[tuple[Any, ...]] = made
            # One type for all numbers: statements are prepared once.
            connection.adapters.register_dumper(int, Int8Dumper)
            connection.execute(
                "SELECT set_config('search_path', quote_ident(%s), false),"
                " set_config('synchronous_commit', %s, false),"
                " set_config('statement_timeout', %s, false)",
                (self.schema, "on" if durable else "off", str(int(self.timeout * 1000))),
            )
        except psycopg.Error as error:
            reason = self._redactor.text(" ".join(str(error).split())[:300])
        else:
            return connection
        # Raised outside of `except`, or it would carry a foreign error whose frames hold the
        # password.
        raise StoreError(f"the ledger's database cannot be reached ({reason})")


@functools.cache
def _watched_connection() -> type[Any]:
    """Return a class of connections that break when the server is silent for too long.

    A server ends a statement that takes too long, but a frozen one does not.
    """
    from psycopg import Connection, OperationalError  # noqa: PLC0415  # an extra

    class WatchedConnection(Connection[tuple[Any, ...]]):
        #: For how many seconds the server may be silent; ``None`` for no limit.
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

    return WatchedConnection


def _parse(given: Secret) -> Mapping[str, Any]:
    """Return the parameters of a connection string, and this package's defaults.

    Raises:
        ConfigurationError: libpq does not take it, or psycopg is not installed.
    """
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
