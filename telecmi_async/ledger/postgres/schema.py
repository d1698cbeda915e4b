"""PostgreSQL schema: opens it in this package's version, and says why a query failed in it.

A ledger's tables belong to the role that made them; only a migration needs its rights. Workers
and readers may have roles of their own, with the privileges of `missing_grants`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from telecmi_async.errors import ConfigurationError, LedgerLost, StoreError
from telecmi_async.ledger.migrate import changed_meanwhile, not_migrated, scripts, scripts_after
from telecmi_async.ledger.postgres.connector import IDENTITY, set_for_transaction

if TYPE_CHECKING:
    from telecmi_async.ledger.postgres.connector import PostgresConnector, WatchedConnection

_CHANGED: Final = ("SELECT", "INSERT", "UPDATE")
_ADDED: Final = ("SELECT", "INSERT")
#: What a worker's role may do with each table.
WORKER_GRANTS: Final = {
    "campaign": _CHANGED,
    "change": _CHANGED,
    "channel": (*_CHANGED, "DELETE"),
    "contact": _CHANGED,
    "do_not_call": (*_ADDED, "DELETE"),
    "do_not_call_removed": _ADDED,
    "keyed_call": (*_CHANGED, "DELETE"),
    "leg": _CHANGED,
    "migration": ("SELECT",),
    "pace": _CHANGED,
    "passage": _ADDED,
    "send": _CHANGED,
    "tally": _CHANGED,
}
_MISSING: Final = """
    SELECT g.privilege, quote_ident(n.nspname) || '.' || quote_ident(c.relname)
    FROM unnest(%s::text[], %s::text[]) AS g (name, privilege)
    JOIN pg_class c ON c.relname = g.name JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = %s AND NOT has_table_privilege(c.oid, g.privilege)
    ORDER BY c.relname"""
_ROLE: Final = """
    SELECT quote_ident(current_user), quote_ident(n.nspname),
        has_schema_privilege(n.oid, 'USAGE'),
        EXISTS (
            SELECT FROM pg_proc p
            WHERE p.pronamespace = n.oid AND NOT has_function_privilege(p.oid, 'EXECUTE')
        )
    FROM pg_namespace n WHERE n.nspname = %s"""

# Damaged data or a damaged index.
_DAMAGED: Final = ("XX001", "XX002")
# The schema, a table, a function, a column or a type that was there is gone.
_GONE: Final = ("3F000", "42P01", "42883", "42703", "42704")
# Errors that pass, with any schema: no room, a time-out, a lock, a standby, the disk.
_PASSING: Final = ("53", "57", "55", "25", "58", "40", "08")
_DENIED: Final = "42501"
_READ_ONLY: Final = "25006"


def open_schema(connection: WatchedConnection, *, migrate: bool) -> tuple[int, int]:
    """Return what identifies the schema's tables, and its version; migrate it if permitted."""
    found = connection_identity(connection)
    version, texts = 0, scripts("postgres")
    if found is not None:
        if missing := missing_grants(connection, writes=migrate):
            raise ConfigurationError(missing)
        version = _version(connection)
    if found is None or scripts_after(version, texts):
        if not migrate:
            raise not_migrated(version, len(texts))
        found = _migrate(connection, texts)
    return found, len(texts)


def connection_identity(connection: WatchedConnection) -> int | None:
    """Return what identifies the tables of a connection's schema; ``None`` if there are none."""
    row = connection.execute(
        f"SELECT {IDENTITY}".encode(), (connection.settings[0],)
    ).fetchone()
    return None if row is None or row[0] is None else int(row[0])


def _version(connection: WatchedConnection) -> int:
    with connection.transaction():
        set_for_transaction(connection)
        row = connection.execute("SELECT coalesce(max(version), 0) FROM migration").fetchone()
    return 0 if row is None else int(row[0])


def _migrate(connection: WatchedConnection, texts: list[str]) -> int:
    """Bring the schema up to date, while other processes that want the same wait."""
    state = None
    try:
        return _run_scripts(connection, texts)
    except Exception as error:
        state = getattr(error, "sqlstate", None)
        if state not in {_DENIED, _READ_ONLY}:
            raise
    # Raised outside of `except`, so that it carries no foreign error.
    if state == _READ_ONLY:
        raise ConfigurationError(
            "the ledger's tables must be made or brought up to date, and this server may only "
            "be read: give the address of the primary"
        )
    raise ConfigurationError(
        "the ledger's tables must be made or brought up to date, and this role may not do that: "
        "run `telecmi-async migrate` once as their owner, who needs CREATE on the database for "
        "a new ledger"
    )


def _run_scripts(connection: WatchedConnection, texts: list[str]) -> int:
    with connection.transaction():
        set_for_transaction(connection)
        connection.execute("SET LOCAL statement_timeout = 0")
        name = connection.settings[0]
        row = connection.execute("SELECT quote_ident(%s)", (name,)).fetchone()
        schema = "" if row is None else row[0]
        connection.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended('telecmi_async ' || %s, 0))",
            (schema,),
        )
        # A role that may not create a schema may still use one.
        exists = "SELECT to_regnamespace(%s) IS NOT NULL"
        if connection.execute(exists, (schema,)).fetchone() == (False,):
            connection.execute(f"CREATE SCHEMA {schema}".encode())
        connection.execute("CREATE TABLE IF NOT EXISTS migration (version integer PRIMARY KEY)")
        version = _version(connection)
        for number, text in enumerate(scripts_after(version, texts), version + 1):
            connection.execute(text.encode())
            connection.execute("INSERT INTO migration VALUES (%s)", (number,))
        made = connection_identity(connection)
    assert made is not None, "the table was made above"  # noqa: S101  # for type checkers
    return made


def missing_grants(connection: WatchedConnection, *, writes: bool) -> str:
    """Return which privileges this role lacks, with the statements to run; empty if none.

    A worker's role ``writes``, a reader's does not.
    """
    name = connection.settings[0]
    row = connection.execute(_ROLE, (name,)).fetchone()
    if row is None:
        return ""
    role, schema, uses, may_not_execute = row
    given = [
        (table, privilege)
        for table, privileges in WORKER_GRANTS.items()
        for privilege in privileges
        if writes or privilege == "SELECT"
    ]
    rows = connection.execute(
        _MISSING, ([table for table, _ in given], [each for _, each in given], name)
    ).fetchall()
    tables: dict[str, list[str]] = {}
    for privilege, table in rows:
        tables.setdefault(table, []).append(privilege)
    alike: dict[str, list[str]] = {}
    for table, privileges in tables.items():
        alike.setdefault(", ".join(privileges), []).append(table)
    statements = [] if uses else [f"GRANT USAGE ON SCHEMA {schema} TO {role};"]
    statements += [
        f"GRANT {privileges} ON {', '.join(some)} TO {role};"
        for privileges, some in alike.items()
    ]
    if may_not_execute:
        statements.append(f"GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA {schema} TO {role};")
    if not statements:
        return ""
    return (
        "this role lacks privileges on the ledger's tables; have their owner run: "
        f"{' '.join(statements)}"
    )


def failure_of(
    connector: PostgresConnector, connection: WatchedConnection, error: Exception
) -> StoreError:
    """Return the failure of a query as one of this package's, which repeats no value.

    If the schema is another one than before, or of another version, that is the reason: a query
    that was prepared for a dropped type, for example, fails in a way that says nothing of it.
    """
    state = str(getattr(error, "sqlstate", None) or "")
    # Without the error's message, which may repeat a row's values.
    name = f"{type(error).__name__}, {state}" if state else type(error).__name__
    words = f"the ledger's database failed ({name})"
    if state in _DAMAGED:
        return LedgerLost(words)
    if state == _READ_ONLY:
        return StoreError(f"{words}: it may only be read, as a replica may")
    if not state or state.startswith(_PASSING):
        return StoreError(words)
    try:
        if lost := _lost(connector, connection):
            return lost
        missing = missing_grants(connection, writes=True)
    except Exception as other:  # noqa: BLE001  # the server does not answer: nothing is known
        del other
        missing = ""
    if state == _DENIED and missing:
        return StoreError(f"{words}: {missing}")
    return (LedgerLost if state in _GONE else StoreError)(words)


def _lost(connector: PostgresConnector, connection: WatchedConnection) -> LedgerLost | None:
    """Return why the schema is not the one that was opened; ``None`` if it is."""
    if connector.identity is None:  # it is being opened
        return None
    if connection_identity(connection) != connector.identity:
        return connector.lose()
    version = _version(connection)
    if version != connector.version:
        return changed_meanwhile(version, connector.version)
    return None


def is_undone(error: Any) -> bool:
    """Return whether the server undid the transaction, so that it may be repeated."""
    return getattr(error, "sqlstate", None) in {"40001", "40P01"}
