"""PostgreSQL queries that are long, or would make their method long."""

from __future__ import annotations

from typing import Final

from telecmi_async.ledger.idempotency import KEY_COLUMNS
from telecmi_async.ledger.rows import CLAIM_COLUMNS, CONTACT_COLUMNS, RATE_SPAN

CREATE: Final = """
    WITH made AS (
        INSERT INTO campaign (name, settings, created) VALUES (%s, %s::json, clock())
        ON CONFLICT (name) DO NOTHING RETURNING 1
    )
    SELECT 1 FROM made UNION ALL
    SELECT 1 FROM campaign c WHERE c.name = %s AND c.settings::text = %s AND %s"""
STATE: Final = f"""
    SELECT k.status, k.why, t.sends, t.cost, t.priced, t.may_ring,
        t.ended, t.answered, t.talk_seconds,
        r.sends, r.first,
        (SELECT max(c.not_before) FROM contact c
            WHERE c.campaign = k.id AND c.state = 'pending'),
        (SELECT count(DISTINCT c.worker) FROM contact c WHERE c.campaign = k.id
            AND c.state IN ('claimed', 'sending') AND c.lease_until > n.now),
        k.settings ->> 'unknown', (SELECT max(s.at) FROM send s WHERE s.campaign = k.id),
        k.revision, n.now, p.not_before, p.reason,
        (SELECT json_object_agg(s.state, s.n) FROM (
            SELECT c.state, count(*) AS n FROM contact c WHERE c.campaign = k.id
            GROUP BY c.state
        ) s)
    FROM campaign k CROSS JOIN (SELECT clock() AS now OFFSET 0) n
    CROSS JOIN LATERAL (
        SELECT count(*) AS sends, min(s.at) AS first FROM send s
        WHERE s.campaign = k.id AND s.at > n.now - {RATE_SPAN}
    ) r
    LEFT JOIN LATERAL (
        SELECT sum(a.sends) AS sends, sum(a.cost) AS cost, sum(a.priced) AS priced,
            sum(a.may_ring) AS may_ring, sum(a.ended) AS ended,
            sum(a.answered) AS answered, sum(a.talk_seconds) AS talk_seconds
        FROM tally a WHERE a.campaign = k.id
    ) t ON true
    LEFT JOIN LATERAL (
        SELECT c.not_before, c.reason FROM contact c
        WHERE c.campaign = k.id AND c.state = 'pending' ORDER BY c.not_before, c.id LIMIT 1
    ) p ON true
    WHERE k.id = %s AND 'migration'::regclass::oid::bigint = %s"""  # noqa: S608  # a number
# A schema that was made anew, perhaps from an older copy, gives no claim.
CLAIM: Final = f"""
    SELECT {CLAIM_COLUMNS} FROM claim(
        CASE WHEN 'migration'::regclass::oid::bigint = %s THEN %s::integer END,
        %s, %s::bigint, %s::integer, %s
    )"""  # noqa: S608  # columns
ADD_DO_NOT_CALL: Final = """
    WITH added AS (
        INSERT INTO do_not_call (number, source, at, added_by)
        SELECT DISTINCT n, g.source, clock(), g.by
        FROM (VALUES (%s, %s)) AS g (source, by), unnest(%s::bigint[]) n ORDER BY n
        ON CONFLICT (number) DO NOTHING RETURNING source, added_by
    ), counted AS MATERIALIZED (
        SELECT count(*) AS n, min(source) AS source, min(added_by) AS by FROM added
    )
    SELECT n, note_change(NULL, %s, by, 'add_do_not_call', source, n) FROM counted"""
REMOVE_DO_NOT_CALL: Final = """
    WITH removed AS (
        DELETE FROM do_not_call WHERE number = ANY (%s::bigint[])
        RETURNING number, source, at, added_by
    ), kept AS (
        INSERT INTO do_not_call_removed (number, source, at, added_by, removed_at, removed_by)
        SELECT number, source, at, added_by, clock(), %s FROM removed RETURNING removed_by
    ), counted AS MATERIALIZED (
        SELECT count(*) AS n, min(removed_by) AS by FROM kept
    )
    SELECT n, note_change(NULL, %s, by, 'remove_do_not_call', '', n) FROM counted"""
DO_NOT_CALL: Final = """
    SELECT number, source, at, added_by FROM do_not_call WHERE number > %s
    ORDER BY number LIMIT %s"""
CHANGES: Final = """
    SELECT id, at, changed_by, what, detail, count FROM change
    WHERE id > %s AND (campaign = %s OR campaign IS NULL) ORDER BY id LIMIT %s"""
SETTINGS_REVISION: Final = """
    SELECT revision, settings, coalesce(original, settings) FROM campaign WHERE name = %s"""
# A decision of a person, with the number of contacts that it moved.
DECIDE: Final = """
    WITH done AS MATERIALIZED (SELECT {call} AS n)
    SELECT n, note_change(%s::integer, %s, %s, %s, %s, n) FROM done"""
RECORD_EVENT: Final = (
    "SELECT record_event_2(%s, %s, %s, %s, %s::boolean, %s::integer, %s::double precision, %s)"
)
ADD_LEG: Final = """
    INSERT INTO leg AS l (send, leg, cost)
    SELECT s.token, %s, %s::double precision FROM send s
    WHERE s.token = %s OR s.request_id = %s LIMIT 1
    ON CONFLICT (send, leg) DO UPDATE SET cost = excluded.cost WHERE excluded.cost > l.cost
    RETURNING 1"""
SET_STATUS: Final = """
    WITH asked AS (
        UPDATE campaign SET status = %s, why = %s WHERE id = %s RETURNING id, status, why
    )
    SELECT id, note_change(id, %s, %s, status, why, NULL) FROM asked"""
NEXT_DUE: Final = """
    SELECT not_before FROM contact WHERE campaign = %s AND state = 'pending'
    ORDER BY not_before LIMIT 1"""
CONTACT: Final = (
    f"SELECT id, {CONTACT_COLUMNS} FROM contact WHERE campaign = %s AND number = %s"  # noqa: S608  # columns
)
PAGE: Final = f"""
    SELECT id, {CONTACT_COLUMNS} FROM contact WHERE campaign = %s AND id > %s
    AND state = ANY (%s::contact_state[]) ORDER BY id LIMIT %s"""  # noqa: S608  # columns
CAMPAIGNS: Final = "SELECT name FROM campaign ORDER BY id"
HISTORY: Final = "SELECT at, what, detail, token FROM passage WHERE contact = %s ORDER BY id"
ADVANCE_STARTS: Final = """
    UPDATE pace SET due = clock() + k.seconds
    FROM unnest(%s::text[], %s::float8[]) AS k (key, seconds)
    WHERE pace.key = k.key AND pace.due > clock() + %s RETURNING 1"""
FREE_CHANNEL: Final = "DELETE FROM channel WHERE key = %s AND holder = %s RETURNING 1"
_KEYED: Final = KEY_COLUMNS.format(now="clock()")
CLAIM_KEY: Final = f"SELECT {_KEYED} FROM claim_key(%s, %s, %s, %s, %s, %s)"  # noqa: S608  # columns
FIND_KEY: Final = f"SELECT {_KEYED} FROM keyed_call WHERE expires > clock() AND "  # noqa: S608  # columns
SETTLE_KEY: Final = (
    "UPDATE keyed_call SET state = %s, request_id = coalesce(request_id, %s), detail = %s "
    "WHERE token = %s AND (state IN ('sending', 'unknown') OR %s) RETURNING 1"
)
