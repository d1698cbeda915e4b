"""What `PostgresLedger` says to the server, and how it reads the answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from telecmi_async.errors import ConfigurationError
from telecmi_async.ledger.base import Claim, Contact, Passage
from telecmi_async.ledger.migrate import scripts
from telecmi_async.ledger.sanitize import contact_row
from telecmi_async.ledger.states import ContactState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from psycopg import Connection

    from telecmi_async.ledger.contact import NewContact

__all__ = [
    "ADD_DO_NOT_CALL",
    "CLAIM",
    "CONTACTS",
    "CREATE",
    "FIND",
    "FREE",
    "HISTORY",
    "INTEND",
    "LEASE",
    "NEXT_DUE",
    "PUT_BACK",
    "REAP",
    "RECORD_EVENT",
    "REDIAL",
    "RESERVE",
    "RESOLVE_UNKNOWN",
    "SETTLE",
    "SET_STATUS",
    "STATE",
    "claim_of",
    "contact_of",
    "loading",
    "migrate_postgres",
    "tidy",
]

# If it was asked before, then one that was begun with the same settings is that one.
CREATE: Final = """
    WITH made AS (
        INSERT INTO campaign (name, settings, created) VALUES (%s, %s::json, clock())
        ON CONFLICT (name) DO NOTHING RETURNING 1
    )
    SELECT 1 FROM made UNION ALL
    SELECT 1 FROM campaign c WHERE c.name = %s AND c.settings::text = %s AND %s"""
SET_STATUS: Final = """
    UPDATE campaign SET status = %s, why = %s WHERE id = %s RETURNING id"""
STATE: Final = """
    SELECT k.status, k.why,
        (SELECT sum(t.sends) FROM tally t WHERE t.campaign = k.id),
        (SELECT sum(t.cost) FROM tally t WHERE t.campaign = k.id),
        (SELECT json_object_agg(s.state, s.n) FROM (
            SELECT c.state, count(*) AS n FROM contact c WHERE c.campaign = k.id
            GROUP BY c.state
        ) s)
    FROM campaign k WHERE k.id = %s"""
CLAIM: Final = """
    SELECT id, number, columns, epoch, sends, not_after
    FROM claim(%s::integer, %s, %s::bigint, %s::integer, %s)"""
NEXT_DUE: Final = """
    SELECT c.not_before FROM contact c
    WHERE c.campaign = %s AND c.state = 'pending'
    ORDER BY c.not_before LIMIT 1"""
PUT_BACK: Final = "SELECT put_back(%s, %s::integer, %s, %s, %s, %s::double precision, %s)"
INTEND: Final = """
    SELECT * FROM intend(%s, %s::integer, %s, %s, %s, %s, %s, %s::integer[],
        %s::double precision[], %s::integer, %s, %s::double precision, %s)"""
SETTLE: Final = "SELECT settle(%s, %s::contact_state, %s, %s, %s, %s)"
RECORD_EVENT: Final = """
    SELECT record_event(%s, %s, %s, %s, %s::boolean, %s::integer, %s::double precision, %s)"""
REAP: Final = "SELECT * FROM reap(%s::integer)"
RESOLVE_UNKNOWN: Final = "SELECT resolve_unknown(%s::integer, %s, %s)"
REDIAL: Final = "SELECT redial(%s::integer, %s::bigint[])"
ADD_DO_NOT_CALL: Final = """
    WITH added AS (
        INSERT INTO do_not_call (number, source, at)
        SELECT DISTINCT n, %s, clock() FROM unnest(%s::bigint[]) n ORDER BY n
        ON CONFLICT (number) DO NOTHING RETURNING 1
    ) SELECT count(*) FROM added"""
RESERVE: Final = "SELECT reserve(%s::text[], %s::double precision[], %s, %s::integer)"
LEASE: Final = "SELECT lease_channel(%s, %s, %s::integer, %s)"
FREE: Final = "DELETE FROM channel WHERE key = %s AND holder = %s RETURNING 1"

_CONTACT: Final = """
    SELECT c.id, c.number, c.state::text, c.reason, c.sends, c.columns, c.request_id,
        c.answered, c.talk_seconds, c.cost, c.sent_at, c.finished_at,
        CASE c.state WHEN 'pending' THEN nullif(c.not_before, 0) END
    FROM contact c WHERE c.campaign = %s"""
CONTACTS: Final = f"""{_CONTACT}
    AND c.id > %s AND c.state = ANY (%s::contact_state[]) ORDER BY c.id LIMIT %s"""
FIND: Final = f"{_CONTACT} AND c.number = %s"
HISTORY: Final = "SELECT at, what, detail, token FROM passage WHERE contact = %s ORDER BY id"


def claim_of(row: tuple[Any, ...]) -> Claim:
    """Return the claim that a row tells of."""
    (contact, number, columns, epoch, sends, not_after) = row
    return Claim(
        contact=contact,
        number=number,
        columns=columns,
        epoch=epoch,
        sends=sends,
        not_after=not_after,
    )


def contact_of(row: tuple[Any, ...], history: Sequence[tuple[Any, ...]] = ()) -> Contact:
    """Return the contact that a row tells of."""
    (_, number, state, reason, sends, columns, request_id, *rest) = row
    (answered, talk_seconds, cost, sent_at, finished_at, waits_until) = rest
    return Contact(
        number=number,
        state=ContactState(state),
        reason=reason,
        sends=sends,
        columns=columns,
        request_id=request_id,
        answered=answered,
        talk_seconds=talk_seconds,
        cost=cost,
        sent_at=sent_at,
        finished_at=finished_at,
        waits_until=waits_until,
        history=tuple(
            Passage(at=at, what=what, detail=detail, token=token)
            for at, what, detail, token in history
        ),
    )


def migrate_postgres(connection: Connection[tuple[Any, ...]]) -> None:
    """Bring the schema up to date, while other processes that want the same wait.

    Raises:
        ConfigurationError: It is newer than this package.
    """
    steps = scripts("postgres")
    with connection.transaction():
        connection.execute("SET LOCAL statement_timeout = 0")
        row = connection.execute("SELECT current_setting('search_path')").fetchone()
        schema = "" if row is None else row[0]
        connection.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended('telecmi_async ' || %s, 0))",
            (schema,),
        )
        # Who may not make a schema may still use one.
        if connection.execute("SELECT current_schema()").fetchone() == (None,):
            connection.execute(f"CREATE SCHEMA {schema}".encode())
        connection.execute("CREATE TABLE IF NOT EXISTS migration (version integer PRIMARY KEY)")
        row = connection.execute("SELECT coalesce(max(version), 0) FROM migration").fetchone()
        version = 0 if row is None else row[0]
        if version > steps[-1].version:
            raise ConfigurationError(
                f"the ledger was written by a newer version of telecmi-async (its schema is "
                f"{version}, this one knows {steps[-1].version}); update telecmi-async"
            )
        for step in steps[version:]:
            connection.execute(step.text.encode())
            connection.execute("INSERT INTO migration VALUES (%s)", (step.version,))


def loading(
    campaign: int, batch: Sequence[NewContact]
) -> Callable[[Connection[tuple[Any, ...]]], int]:
    """Return what loads contacts in one transaction, and tells how many were new."""

    def load(connection: Connection[tuple[Any, ...]]) -> int:
        lines = [(n, *contact_row(contact)) for n, contact in enumerate(batch)]
        with connection.transaction(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = 0")
            cursor.execute(
                "CREATE TEMP TABLE IF NOT EXISTS incoming (n integer, number bigint,"
                " columns json, not_before double precision, not_after double precision)"
                " ON COMMIT DELETE ROWS"
            )
            with cursor.copy("COPY incoming FROM STDIN") as copy:
                for line in lines:
                    copy.write_row(line)
            cursor.execute(
                "INSERT INTO contact (campaign, number, columns, not_before, not_after)"
                " SELECT %s::integer, number, columns, not_before, not_after FROM incoming"
                " ORDER BY n ON CONFLICT (campaign, number) DO NOTHING",
                (campaign,),
            )
            return cursor.rowcount

    return load


def tidy(connection: Connection[tuple[Any, ...]]) -> None:
    """Let the server learn what is in the table now: it counts and claims faster then."""
    connection.execute("SET statement_timeout = 0")
    connection.execute("VACUUM (ANALYZE, SKIP_LOCKED) contact")
