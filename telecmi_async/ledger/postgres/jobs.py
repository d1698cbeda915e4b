"""PostgreSQL jobs: migration, loading and vacuum, which need a connection for themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from telecmi_async.ledger.migrate import scripts, scripts_after
from telecmi_async.ledger.postgres.connector import set_for_transaction
from telecmi_async.ledger.sanitize import contact_row

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from telecmi_async.ledger.postgres.connector import WatchedConnection
    from telecmi_async.ledger.records import NewContact


def migrate_postgres(connection: WatchedConnection) -> Any:
    """Bring the schema up to date, while other processes that want the same wait.

    Returns what identifies it: another one of the same name is another ledger.

    Raises:
        ConfigurationError: It is newer than this package.
    """
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
        row = connection.execute("SELECT coalesce(max(version), 0) FROM migration").fetchone()
        version = 0 if row is None else row[0]
        for number, text in enumerate(scripts_after(version, scripts("postgres")), version + 1):
            connection.execute(text.encode())
            connection.execute("INSERT INTO migration VALUES (%s)", (number,))
        row = connection.execute("SELECT 'migration'::regclass::oid::bigint").fetchone()
        return None if row is None else row[0]


def loading(campaign: int, batch: Sequence[NewContact]) -> Callable[[WatchedConnection], int]:
    """Return a job that loads contacts in one transaction, and returns how many are new."""

    def load(connection: WatchedConnection) -> int:
        lines = [(n, *contact_row(contact)) for n, contact in enumerate(batch)]
        with connection.transaction(), connection.cursor() as cursor:
            set_for_transaction(connection)
            cursor.execute("SET LOCAL statement_timeout = 0")
            cursor.execute(
                "CREATE TEMP TABLE telecmi_incoming (n integer, number bigint, columns json,"
                " not_before double precision, not_after double precision) ON COMMIT DROP"
            )
            with cursor.copy("COPY telecmi_incoming FROM STDIN") as copy:
                for line in lines:
                    copy.write_row(line)
            cursor.execute(
                "INSERT INTO contact (campaign, number, columns, not_before, not_after)"
                " SELECT %s::integer, number, columns, not_before, not_after"
                " FROM telecmi_incoming"
                " ORDER BY n ON CONFLICT (campaign, number) DO NOTHING",
                (campaign,),
            )
            return cursor.rowcount

    return load


def vacuum(connection: WatchedConnection) -> None:
    """Vacuum and analyse the contacts: after many new ones the server counts faster then.

    A vacuum needs the session's settings, so through a pooler the server does it in its time.
    """
    if connection.pooled:
        return
    connection.execute("SET statement_timeout = 0")
    connection.execute("VACUUM (ANALYZE, SKIP_LOCKED) contact")
