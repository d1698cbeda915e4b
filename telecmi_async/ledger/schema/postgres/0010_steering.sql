-- Campaigns that are changed while they run: revisions of their settings, contacts that were
-- withdrawn, who put a number on the do-not-call list, and who changed what.

ALTER TABLE campaign ADD COLUMN revision integer NOT NULL DEFAULT 0;
-- The settings it was created with, once they were changed.
ALTER TABLE campaign ADD COLUMN original json;

-- Why it must not be dialled any more, if it was withdrawn; its state may still change.
ALTER TABLE contact ADD COLUMN withdrawn text;
CREATE INDEX contact_withdrawn ON contact (campaign)
WHERE withdrawn IS NOT NULL AND state = 'pending';

-- The revision of the settings by which it was sent. A worker of an older version knows none, and
-- would go on by settings that were changed.
ALTER TABLE send ADD COLUMN revision integer;

CREATE FUNCTION refuse_older_worker() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM contact c JOIN campaign k ON k.id = c.campaign
        WHERE c.id = new.contact AND (k.revision > 0 OR c.withdrawn IS NOT NULL)
    ) THEN
        RAISE EXCEPTION 'the settings were changed' USING ERRCODE = 'check_violation';
    END IF;
    RETURN new;
END
$$;

CREATE TRIGGER send_by_unknown_settings BEFORE INSERT ON send
FOR EACH ROW WHEN (new.revision IS NULL) EXECUTE FUNCTION refuse_older_worker();

ALTER TABLE do_not_call ADD COLUMN added_by text NOT NULL DEFAULT '';

-- Numbers that were on the list. Rows are never changed.
CREATE TABLE do_not_call_removed (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    number bigint NOT NULL,
    source text NOT NULL,
    at double precision NOT NULL,
    added_by text NOT NULL,
    removed_at double precision NOT NULL,
    removed_by text NOT NULL
);

-- What people changed, in the order of ids. A change of the do-not-call list has no campaign. What
-- takes several transactions, and a query that is repeated, has one id of an operation, and is one
-- row.
CREATE TABLE change (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    campaign integer,
    operation text UNIQUE,
    at double precision NOT NULL,
    changed_by text NOT NULL,
    what text NOT NULL,
    detail text NOT NULL DEFAULT '',
    count bigint
);
CREATE INDEX change_campaign ON change (campaign, id);

-- Adds to the history of changes, unless the change is of no contact.
CREATE FUNCTION note_change(p_campaign integer, p_operation text, p_by text, p_what text,
    p_detail text, p_count bigint)
RETURNS void LANGUAGE sql AS $$
    INSERT INTO change AS g (campaign, operation, at, changed_by, what, detail, count)
    SELECT p_campaign, p_operation, clock(), p_by, p_what, p_detail, p_count
    WHERE p_count IS DISTINCT FROM 0
    ON CONFLICT (operation) DO UPDATE SET count = g.count + excluded.count
$$;

-- Changes a campaign's settings, if nothing changed them since the revision. Contacts that the
-- earlier rules postponed are judged again.
CREATE FUNCTION change_settings(p_campaign integer, p_settings json, p_revision integer,
    p_operation text, p_by text, p_detail text)
RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    UPDATE campaign k SET settings = p_settings, revision = k.revision + 1,
        original = COALESCE(k.original, k.settings)
    WHERE k.id = p_campaign AND k.revision = p_revision;
    IF NOT FOUND THEN  -- or was it done by this query, whose answer was lost?
        RETURN EXISTS (SELECT FROM change g WHERE g.operation = p_operation);
    END IF;
    PERFORM note_change(p_campaign, p_operation, p_by, 'settings', p_detail, NULL);
    UPDATE contact c SET not_before = clock() FROM (
        SELECT d.id FROM contact d
        WHERE d.campaign = p_campaign AND d.state = 'pending' AND d.not_before > clock()
            AND split_part(d.reason, ':', 1)
                IN ('calling_window', 'per_day', 'per_number', 'cost')
        ORDER BY d.id FOR UPDATE SKIP LOCKED
    ) late WHERE c.id = late.id;
    RETURN true;
END
$$;

-- Withdraws contacts; returns how many were in each state. One that was to be dialled is blocked,
-- also if that was done before. Any other keeps its state, and becomes blocked instead of pending.
CREATE FUNCTION withdraw(p_campaign integer, p_numbers bigint[], p_why text, p_operation text,
    p_by text, p_detail text)
RETURNS TABLE (state contact_state, contacts bigint) LANGUAGE sql AS $$
    WITH chosen AS (
        SELECT c.id, c.withdrawn IS NULL AS is_new, CASE
            WHEN c.state = 'claimed' OR c.state = 'blocked' AND c.withdrawn IS NOT NULL
            THEN 'pending' ELSE c.state END AS was
        FROM contact c
        WHERE c.campaign = p_campaign AND c.number = ANY (p_numbers)
        ORDER BY c.id FOR UPDATE
    ), moved AS (
        UPDATE contact c SET withdrawn = COALESCE(c.withdrawn, p_why),
            state = CASE h.was WHEN 'pending' THEN 'blocked' ELSE c.state END,
            reason = CASE h.was WHEN 'pending' THEN COALESCE(c.withdrawn, p_why)
                ELSE c.reason END,
            worker = CASE h.was WHEN 'pending' THEN NULL ELSE c.worker END,
            lease_until = CASE h.was WHEN 'pending' THEN NULL ELSE c.lease_until END
        FROM chosen h WHERE c.id = h.id
        RETURNING c.id, h.was, h.is_new
    ), noted AS (
        INSERT INTO passage (contact, at, what, detail)
        SELECT m.id, clock(), CASE m.was WHEN 'pending' THEN 'withdraw' ELSE 'event' END, p_why
        FROM moved m WHERE m.is_new ORDER BY m.id
    ), told AS MATERIALIZED (
        SELECT note_change(p_campaign, p_operation, p_by, 'withdraw', p_detail,
            (SELECT count(*) FROM moved m WHERE m.is_new))
    )
    SELECT m.was, count(*) FROM moved m, told GROUP BY m.was
$$;

-- Blocks withdrawn contacts that became pending.
CREATE FUNCTION keep_withdrawn(p_campaign integer, p_contact bigint)
RETURNS void LANGUAGE sql AS $$
    WITH moved AS (
        UPDATE contact c SET state = 'blocked', reason = c.withdrawn
        WHERE c.withdrawn IS NOT NULL AND c.state = 'pending' AND c.campaign = p_campaign
            AND (p_contact IS NULL OR c.id = p_contact)
        RETURNING c.id, c.withdrawn
    )
    INSERT INTO passage (contact, at, what, detail)
    SELECT m.id, clock(), 'withdraw', m.withdrawn FROM moved m
$$;

-- Puts the result of a send on record, as `settle_3` does. A withdrawn contact is not tried again.
CREATE FUNCTION settle_4(p_token text, p_outcome contact_state, p_detail text, p_request text,
    p_not_before double precision, p_counts boolean, p_again boolean)
RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    moved boolean;
BEGIN
    moved := settle_3(
        p_token, p_outcome, p_detail, p_request, p_not_before, p_counts, p_again);
    IF moved AND p_outcome = 'pending' THEN
        PERFORM keep_withdrawn(t.campaign, t.contact) FROM send t WHERE t.token = p_token;
    END IF;
    RETURN moved;
END
$$;

-- Moves contacts whose calls are proven absent, as `resolve_unknown` does. A withdrawn one is not dialled again.
CREATE FUNCTION resolve_unknown_2(p_campaign integer, p_older double precision, p_policy text)
RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    moved integer;
BEGIN
    moved := resolve_unknown(p_campaign, p_older, p_policy);
    IF moved > 0 THEN
        PERFORM keep_withdrawn(p_campaign, NULL);
    END IF;
    RETURN moved;
END
$$;

-- Makes unknown contacts pending; a withdrawn one only if it is named. Their sends still count
-- under all limits.
CREATE FUNCTION redial_2(p_campaign integer, p_numbers bigint[])
RETURNS integer LANGUAGE sql AS $$
    WITH chosen AS (
        SELECT c.id FROM contact c
        WHERE c.campaign = p_campaign AND c.state = 'unknown'
            AND (p_numbers IS NULL AND c.withdrawn IS NULL OR c.number = ANY (p_numbers))
        ORDER BY c.id FOR UPDATE
    ), moved AS (
        UPDATE contact c SET state = 'pending', reason = '', withdrawn = NULL
        FROM chosen WHERE c.id = chosen.id
        RETURNING c.id, c.token
    ), noted AS (
        INSERT INTO passage (contact, at, what, detail, token)
        SELECT m.id, clock(), 'redial', 'by decision', m.token FROM moved m
    )
    SELECT count(*)::integer FROM moved
$$;

-- Makes rejected, failed or blocked contacts pending, unless one of their calls was answered or may
-- still ring; a withdrawn one only if its number or its reason is given.
CREATE FUNCTION reopen_2(p_campaign integer, p_numbers bigint[], p_state contact_state,
    p_reason text)
RETURNS integer LANGUAGE sql AS $$
    WITH chosen AS (
        SELECT c.id FROM contact c
        WHERE c.campaign = p_campaign AND c.state = p_state
            AND c.state IN ('rejected', 'failed', 'blocked')
            AND (c.withdrawn IS NULL AND p_numbers IS NULL OR c.number = ANY (p_numbers)
                OR p_numbers IS NULL AND p_reason <> '' AND c.state = 'blocked')
            AND strpos(c.reason, p_reason) > 0
            AND NOT EXISTS (
                SELECT FROM send s WHERE s.number = c.number AND s.contact = c.id
                    AND s.outcome IS DISTINCT FROM 'absent'
                    AND NOT (s.over AND s.answered IS FALSE)
            )
        ORDER BY c.id FOR UPDATE
    ), moved AS (
        UPDATE contact c SET state = 'pending', reason = '', excused = c.sends, withdrawn = NULL
        FROM chosen WHERE c.id = chosen.id
        RETURNING c.id
    ), noted AS (
        INSERT INTO passage (contact, at, what, detail)
        SELECT m.id, clock(), 'reopen', 'by decision' FROM moved m
    )
    SELECT count(*)::integer FROM moved
$$;

-- Makes contacts pending whose records prove that the call was not answered: those redialled
-- fewer times than there are waits, each after its wait, or without waits the chosen ones at once. A
-- withdrawn one is redialled only if it is named. Waits hold if the settings still have the
-- revision.
CREATE FUNCTION redial_missed_2(p_campaign integer, p_numbers bigint[], p_waits double precision[],
    p_revision integer)
RETURNS integer LANGUAGE sql AS $$
    WITH chosen AS (
        SELECT c.id, c.finished_at + COALESCE(p_waits[c.redials + 1], 0) AS due
        FROM contact c
        WHERE c.campaign = p_campaign AND c.state = 'finished' AND NOT c.answered
            AND (p_waits IS NULL OR c.redials < cardinality(p_waits))
            AND (p_numbers IS NULL AND c.withdrawn IS NULL OR c.number = ANY (p_numbers))
            AND (p_waits IS NULL OR p_revision = (
                SELECT k.revision FROM campaign k WHERE k.id = p_campaign
            ))
            AND (c.not_after IS NULL
                OR c.finished_at + COALESCE(p_waits[c.redials + 1], 0) <= c.not_after)
            AND NOT EXISTS (
                SELECT FROM send s WHERE s.number = c.number AND s.contact = c.id
                    AND s.outcome IS DISTINCT FROM 'absent' AND NOT s.over
            )
        ORDER BY c.id LIMIT CASE WHEN p_numbers IS NULL AND p_waits IS NOT NULL THEN 1000 END
        FOR UPDATE SKIP LOCKED
    ), moved AS (
        UPDATE contact c SET state = 'pending', reason = '', excused = c.sends,
            redials = c.redials + 1, finished_at = NULL, request_id = NULL,
            withdrawn = NULL,
            not_before = greatest(c.not_before, chosen.due)
        FROM chosen WHERE c.id = chosen.id
        RETURNING c.id, c.redials, c.token
    ), noted AS (
        INSERT INTO passage (contact, at, what, detail, token)
        SELECT m.id, clock(), 'redial_missed',
            format('not answered: redial %s%s', m.redials,
                CASE WHEN p_waits IS NULL THEN ', by decision' ELSE
                    format(' of %s', cardinality(p_waits)) END), m.token
        FROM moved m
    )
    SELECT count(*)::integer FROM moved
$$;

-- Releases, postpones or blocks a claimed contact; if a revision is given, only while the settings
-- have it.
CREATE FUNCTION put_back_2(p_contact bigint, p_epoch integer, p_worker text, p_what text,
    p_reason text, p_until double precision, p_revision integer, p_again boolean)
RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    target contact_state := CASE p_what WHEN 'block' THEN 'blocked' ELSE 'pending' END;
BEGIN
    UPDATE contact c SET state = target, worker = NULL, lease_until = NULL,
        not_before = greatest(c.not_before, p_until),
        reason = CASE p_what WHEN 'release' THEN c.reason ELSE p_reason END
    WHERE c.id = p_contact AND c.state = 'claimed' AND c.worker = p_worker
        AND c.epoch = p_epoch AND (p_revision IS NULL OR p_revision = (
            SELECT k.revision FROM campaign k WHERE k.id = c.campaign
        ));
    IF FOUND THEN
        PERFORM add_history(p_contact, p_what,
            CASE p_what WHEN 'release' THEN p_worker ELSE p_reason END, NULL);
        RETURN true;
    END IF;
    RETURN p_again AND EXISTS (
        SELECT FROM contact c
        WHERE c.id = p_contact AND c.epoch = p_epoch AND c.state = target
    );
END
$$;

-- Returns why a contact may not be dialled: rule, reason and end. No row: it may be dialled.
-- Transactions that check the same sum wait for each other: their lock ends with the transaction.
CREATE FUNCTION find_refusal_2(c contact, p_time double precision, p_check boolean,
    p_counts integer[], p_spans double precision[], p_per_day integer,
    p_day_began double precision, p_cost double precision, p_revision integer)
RETURNS TABLE (rule text, reason text, until double precision) LANGUAGE plpgsql AS $$
DECLARE
    k campaign;
    found_text text;
    sum_so_far double precision;
    edge integer := ceil(p_day_began / 900);  -- the first quarter entirely in this day
BEGIN
    SELECT * INTO k FROM campaign g WHERE g.id = c.campaign;
    IF k.status <> 'running' THEN
        RETURN QUERY SELECT 'campaign', 'the campaign is ' || k.status
            || CASE k.why WHEN '' THEN '' ELSE ': ' || k.why END, p_time;
        RETURN;
    END IF;
    IF p_revision <> k.revision THEN
        RETURN QUERY SELECT 'settings', 'the settings were changed', p_time;
        RETURN;
    END IF;
    IF c.withdrawn IS NOT NULL THEN
        RETURN QUERY SELECT 'withdrawn', c.withdrawn, NULL::double precision;
        RETURN;
    END IF;
    IF c.not_after < p_time THEN
        RETURN QUERY SELECT 'not_fresh', 'it is too late for this contact',
            NULL::double precision;
        RETURN;
    END IF;
    SELECT d.source INTO found_text FROM do_not_call d WHERE p_check AND d.number = c.number;
    IF FOUND THEN
        RETURN QUERY SELECT 'do_not_call', 'the number is on the list of ' || found_text,
            NULL::double precision;
        RETURN;
    END IF;
    IF p_per_day IS NOT NULL THEN
        PERFORM pg_advisory_xact_lock(
            hashtextextended(current_schema || ' campaign ' || c.campaign, 0));
        SELECT COALESCE(sum(t.may_ring), 0) + (
            SELECT count(*) FROM send s
            WHERE s.campaign = c.campaign AND s.at >= p_day_began AND s.at < edge * 900.0
                AND s.outcome IS DISTINCT FROM 'absent'
        ) INTO sum_so_far FROM tally t WHERE t.campaign = c.campaign AND t.quarter >= edge;
        IF sum_so_far >= p_per_day THEN
            -- In the last hour of a day of 25 hours it must not be tried again at once.
            RETURN QUERY SELECT 'per_day', format('at most %s calls of this campaign a day',
                p_per_day), greatest(p_day_began + 86400, p_time + 60);
            RETURN;
        END IF;
    END IF;
    SELECT sum(t.cost) INTO sum_so_far FROM tally t
    WHERE p_cost IS NOT NULL AND t.campaign = c.campaign;
    IF COALESCE(sum_so_far, 0) >= p_cost THEN
        RETURN QUERY SELECT 'cost', format('the calls of this campaign have cost %s of %s',
            COALESCE(sum_so_far, 0), p_cost), p_time + 60;
        RETURN;
    END IF;
    IF cardinality(p_counts) > 0 THEN
        PERFORM pg_advisory_xact_lock(
            hashtextextended(current_schema || ' number ' || c.number, 0));
        RETURN QUERY SELECT 'per_number',
            format('at most %s calls to one number in %s seconds', cap.n, cap.span), late.until
        FROM unnest(p_counts, p_spans) AS cap (n, span), LATERAL (
            SELECT NULL::double precision AS until WHERE cap.n < 1
            UNION ALL (
                SELECT s.at + cap.span FROM send s
                WHERE cap.n > 0 AND s.number = c.number AND s.at + cap.span > p_time
                    AND s.outcome IS DISTINCT FROM 'absent'
                ORDER BY s.at DESC OFFSET greatest(cap.n, 1) - 1 LIMIT 1
            )
        ) late
        ORDER BY late.until DESC NULLS FIRST LIMIT 1;
    END IF;
END
$$;

-- Puts the intent on record, or refuses it. No row: the claim was lost.
CREATE FUNCTION intend_2(p_contact bigint, p_epoch integer, p_worker text, p_token text,
    p_fence double precision, p_lease double precision, p_check boolean, p_counts integer[],
    p_spans double precision[], p_per_day integer, p_day_began double precision,
    p_cost double precision, p_revision integer, p_again boolean)
RETURNS TABLE (send_by double precision, rule text, reason text, until double precision)
LANGUAGE plpgsql AS $$
DECLARE
    c contact;
    refused record;
    the_time double precision;
BEGIN
    SELECT * INTO c FROM contact k
    WHERE k.id = p_contact AND k.state = 'claimed' AND k.worker = p_worker
        AND k.epoch = p_epoch
    FOR UPDATE;
    IF NOT FOUND THEN
        RETURN QUERY SELECT s.send_by, NULL, NULL, NULL::double precision
        FROM send s JOIN contact k ON k.id = s.contact
        WHERE p_again AND s.token = p_token AND s.outcome IS NULL AND k.token = p_token
            AND k.state = 'sending' AND k.epoch = p_epoch;
        RETURN;
    END IF;
    SELECT * INTO refused FROM find_refusal_2(
        c, clock(), p_check, p_counts, p_spans, p_per_day, p_day_began, p_cost,
        p_revision);
    IF FOUND THEN
        PERFORM put_back(p_contact, p_epoch, p_worker,
            CASE WHEN refused.until IS NULL THEN 'block' ELSE 'postpone' END,
            refused.rule || ': ' || refused.reason, refused.until, false);
        RETURN QUERY SELECT NULL::double precision, refused.rule, refused.reason, refused.until;
        RETURN;
    END IF;
    the_time := clock();
    INSERT INTO send (token, contact, campaign, number, at, send_by, revision)
    VALUES (p_token, c.id, c.campaign, c.number, the_time, the_time + p_fence, p_revision);
    UPDATE contact k SET state = 'sending', token = p_token, sends = k.sends + 1,
        sent_at = the_time, lease_until = the_time + p_lease, reason = ''
    WHERE k.id = p_contact;
    PERFORM add_history(p_contact, 'intend', p_worker, p_token);
    PERFORM add_to_tally(c.campaign, the_time, 1, 1, 0);
    RETURN QUERY SELECT the_time + p_fence, NULL, NULL, NULL::double precision;
END
$$;
