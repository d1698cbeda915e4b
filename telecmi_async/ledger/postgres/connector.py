"""How to get to a PostgreSQL server, without showing the password to anybody."""

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

__all__ = ["GRACE", "PostgresConnector"]

#: For how many seconds longer than a statement may take the server may say nothing.
GRACE: Final = 2.0


class PostgresConnector:
    """How to get to the server: what a connection is opened with.

    Args:
        conninfo: A URL or key-value string as libpq takes it; it may hold a password.
        schema: The schema that everything of ours is in.
        timeout: For how many seconds a broken connection is tried again, and how long the
            server may take for an answer.

    Raises:
        ConfigurationError: psycopg is not installed, or the string is none of libpq's.
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
        known: Mapping[str, Any] = self._parameters.reveal()  # type: ignore[assignment]  # it veils a mapping
        return known

    def open(self, *, durable: bool = True) -> Connection[tuple[Any, ...]]:
        """Open a connection.

        Args:
            durable: Whether a commit waits for the server's disk.

        Raises:
            StoreError: There is none to be had.
        """
        import psycopg  # noqa: PLC0415  # an extra: only who uses it needs it
        from psycopg.types.numeric import Int8Dumper  # noqa: PLC0415  # the same

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
            said = self._redactor.text(" ".join(str(error).split())[:300])
        else:
            return connection
        # Raised out here it carries no foreign error, whose frames know the password.
        raise StoreError(f"the ledger's database cannot be reached ({said})")


@functools.cache
def _watched_connection() -> type[Any]:
    """Return a class of connections that break when the server says nothing for too long.

    The server ends a statement that takes too long; one that is frozen does not.
    """
    from psycopg import Connection, OperationalError  # noqa: PLC0415  # an extra

    class WatchedConnection(Connection[tuple[Any, ...]]):
        #: For how many seconds the server may say nothing; ``None`` for any time.
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
                        raise OperationalError("the server says nothing")
                    wanted = gen.send(ready)
            except StopIteration as end:
                return end.value

    return WatchedConnection


def _parse(given: Secret) -> Mapping[str, Any]:
    """Return what a connection string says, and our defaults.

    Raises:
        ConfigurationError: It says nothing that libpq understands, or there is no psycopg.
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
    if known is None:  # what libpq says of it repeats it
        raise ConfigurationError(
            "PostgresLedger wants libpq's form of an address, such as "
            "postgresql://user:password@host:5432/database; letters such as / or @ in a "
            "password are written in percent-encoding"
        )
    # A machine that is gone without a word is noticed within half a minute.
    return {
        "connect_timeout": 5,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 20_000,
        "application_name": "telecmi_async",
        **known,
    }
