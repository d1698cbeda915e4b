"""PostgreSQL jobs: loading and vacuum, which need a connection for themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from telecmi_async.ledger.postgres.connector import set_for_transaction
from telecmi_async.ledger.postgres.load_request import LOAD, request_text
from telecmi_async.ledger.sanitize import contact_row

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from telecmi_async.ledger.postgres.connector import WatchedConnection
    from telecmi_async.ledger.records import NewContact


def loading(
    campaign: str, batch: Sequence[NewContact], operation: str, by: str
) -> Callable[[WatchedConnection], int]:
    """Return a job that loads contacts in one transaction, and returns how many are new."""

    def load(connection: WatchedConnection) -> int:
        request = request_text(campaign, map(contact_row, batch), operation, by)
        with connection.transaction():
            set_for_transaction(connection)
            connection.execute("SET LOCAL statement_timeout = 0")
            row = connection.execute(LOAD, (request,)).fetchone()
        return int(row[0]) if row else 0

    return load


def vacuum(connection: WatchedConnection) -> None:
    """Vacuum and analyse the contacts: after many new ones the server counts faster then.

    A vacuum needs the session's settings, so through a pooler the server does it in its time.
    """
    if connection.pooled:
        return
    connection.execute("SET statement_timeout = 0")
    connection.execute("VACUUM (ANALYZE, SKIP_LOCKED) contact")
