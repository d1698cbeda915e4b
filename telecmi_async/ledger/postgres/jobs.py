"""PostgreSQL jobs: loading and vacuum, which need a connection for themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from telecmi_async.ledger.postgres.connector import set_for_transaction
from telecmi_async.ledger.sanitize import contact_row

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from telecmi_async.ledger.postgres.connector import WatchedConnection
    from telecmi_async.ledger.records import NewContact


def loading(
    campaign: int, batch: Sequence[NewContact], operation: str, by: str
) -> Callable[[WatchedConnection], int]:
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
            added = cursor.rowcount
            cursor.execute(
                "SELECT note_change(%s::integer, %s, %s, 'load', '', %s)",
                (campaign, operation, by, added),
            )
            return added

    return load


def vacuum(connection: WatchedConnection) -> None:
    """Vacuum and analyse the contacts: after many new ones the server counts faster then.

    A vacuum needs the session's settings, so through a pooler the server does it in its time.
    """
    if connection.pooled:
        return
    connection.execute("SET statement_timeout = 0")
    connection.execute("VACUUM (ANALYZE, SKIP_LOCKED) contact")
