-- Moves of contacts. Each function is one round trip and one transaction. A move locks the
-- contact's row only in the states it starts from; otherwise the caller has lost the contact.
--
-- `p_again` says that the same query was run before over a connection that broke, so that it is
-- not known whether it was done. Its work is then recognised by token or epoch, and answered as
-- if it had been done now. If the first query still waits in the server, it will find the row
-- locked or moved on.

CREATE FUNCTION clock() RETURNS double precision LANGUAGE sql VOLATILE AS $$
    SELECT extract(epoch FROM clock_timestamp())::double precision
$$;

-- Adds a passage to a contact's history.
CREATE FUNCTION add_history(p_contact bigint, p_what text, p_detail text, p_token text)
RETURNS void LANGUAGE sql AS $$
    INSERT INTO passage (contact, at, what, detail, token)
    VALUES (p_contact, clock(), p_what, p_detail, p_token)
$$;

-- Adds to a campaign's sums.
CREATE FUNCTION add_to_tally(p_campaign integer, p_at double precision, p_sends integer,
    p_may_ring integer, p_cost double precision)
RETURNS void LANGUAGE sql AS $$
    INSERT INTO tally AS t (campaign, quarter, shard, sends, may_ring, cost)
    VALUES (p_campaign, floor(p_at / 900), pg_backend_pid() % 64, p_sends, p_may_ring, p_cost)
    ON CONFLICT (campaign, quarter, shard) DO UPDATE SET sends = t.sends + excluded.sends,
        may_ring = t.may_ring + excluded.may_ring, cost = t.cost + excluded.cost
$$;

-- Claims due contacts. If the batch was claimed before, by a query whose answer was lost, the
-- same contacts are returned.
CREATE FUNCTION claim(p_campaign integer, p_worker text, p_batch bigint, p_most integer,
    p_lease double precision)
RETURNS SETOF contact LANGUAGE plpgsql AS $$
DECLARE
    the_time double precision := clock();
BEGIN
    IF NOT EXISTS (
        SELECT FROM campaign c WHERE c.id = p_campaign AND c.status = 'running'
    ) THEN
        RETURN;
    END IF;
    RETURN QUERY SELECT * FROM contact c
    WHERE c.worker = p_worker AND c.state = 'claimed' AND c.batch = p_batch
        AND c.campaign = p_campaign
    ORDER BY c.not_before, c.id;
    IF FOUND THEN
        RETURN;
    END IF;
    RETURN QUERY WITH due AS (
        SELECT c.id FROM contact c
        WHERE c.campaign = p_campaign AND c.state = 'pending' AND c.not_before <= the_time
        ORDER BY c.not_before, c.id
        LIMIT greatest(p_most, 0)
        FOR UPDATE SKIP LOCKED
    ), taken AS (
        UPDATE contact c SET state = 'claimed', worker = p_worker, batch = p_batch,
            epoch = c.epoch + 1, lease_until = the_time + p_lease
        FROM due WHERE c.id = due.id
        RETURNING c.*
    ), noted AS (
        INSERT INTO passage (contact, at, what, detail)
        SELECT t.id, the_time, 'claim', p_worker FROM taken t
    )
    SELECT * FROM taken t ORDER BY t.not_before, t.id;
END
$$;

-- Lengthens the leases of a worker's claims.
CREATE FUNCTION renew(p_worker text, p_lease double precision)
RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    held integer;
BEGIN
    UPDATE contact c SET lease_until = greatest(c.lease_until, clock() + p_lease)
    WHERE c.id IN (
        SELECT h.id FROM contact h
        WHERE h.worker = p_worker AND h.state = 'claimed'
        ORDER BY h.id FOR UPDATE
    );
    GET DIAGNOSTICS held = ROW_COUNT;
    RETURN held;
END
$$;

-- Releases, postpones or blocks a claimed contact.
CREATE FUNCTION put_back(p_contact bigint, p_epoch integer, p_worker text, p_what text,
    p_reason text, p_until double precision, p_again boolean)
RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    target contact_state := CASE p_what WHEN 'block' THEN 'blocked' ELSE 'pending' END;
BEGIN
    UPDATE contact c SET state = target, worker = NULL, lease_until = NULL,
        not_before = greatest(c.not_before, p_until),
        reason = CASE p_what WHEN 'release' THEN c.reason ELSE p_reason END
    WHERE c.id = p_contact AND c.state = 'claimed' AND c.worker = p_worker
        AND c.epoch = p_epoch;
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
CREATE FUNCTION find_refusal(c contact, p_time double precision, p_check boolean,
    p_counts integer[], p_spans double precision[], p_per_day integer,
    p_day_began double precision, p_cost double precision)
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
CREATE FUNCTION intend(p_contact bigint, p_epoch integer, p_worker text, p_token text,
    p_fence double precision, p_lease double precision, p_check boolean, p_counts integer[],
    p_spans double precision[], p_per_day integer, p_day_began double precision,
    p_cost double precision, p_again boolean)
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
    SELECT * INTO refused FROM find_refusal(
        c, clock(), p_check, p_counts, p_spans, p_per_day, p_day_began, p_cost);
    IF FOUND THEN
        PERFORM put_back(p_contact, p_epoch, p_worker,
            CASE WHEN refused.until IS NULL THEN 'block' ELSE 'postpone' END,
            refused.rule || ': ' || refused.reason, refused.until, false);
        RETURN QUERY SELECT NULL::double precision, refused.rule, refused.reason, refused.until;
        RETURN;
    END IF;
    the_time := clock();
    INSERT INTO send (token, contact, campaign, number, at, send_by)
    VALUES (p_token, c.id, c.campaign, c.number, the_time, the_time + p_fence);
    UPDATE contact k SET state = 'sending', token = p_token, sends = k.sends + 1,
        sent_at = the_time, lease_until = the_time + p_lease, reason = ''
    WHERE k.id = p_contact;
    PERFORM add_history(p_contact, 'intend', p_worker, p_token);
    PERFORM add_to_tally(c.campaign, the_time, 1, 1, 0);
    RETURN QUERY SELECT the_time + p_fence, NULL, NULL, NULL::double precision;
END
$$;

-- Puts the result of a send on record. Only 'placed' counts after evidence or a reap.
CREATE FUNCTION settle(p_token text, p_outcome contact_state, p_detail text, p_request text,
    p_not_before double precision, p_again boolean)
RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    s send;
    c contact;
    is_placed boolean := p_outcome = 'placed';
    new_outcome text := CASE p_outcome WHEN 'placed' THEN 'placed' WHEN 'unknown' THEN 'unknown'
        ELSE 'absent' END;
    moved boolean;
BEGIN
    SELECT k.* INTO c FROM send t JOIN contact k ON k.id = t.contact
    WHERE t.token = p_token FOR UPDATE OF k;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    SELECT * INTO s FROM send t WHERE t.token = p_token FOR UPDATE;
    IF p_again AND s.reported = p_outcome THEN
        RETURN true;
    END IF;
    -- Later events may have no token, only this id.
    IF p_request IS NOT NULL AND s.request_id IS NULL THEN
        UPDATE send t SET request_id = p_request WHERE t.token = p_token;
        UPDATE contact k SET request_id = p_request WHERE k.id = c.id
            AND (is_placed AND k.token = p_token OR k.request_id IS NULL);
    END IF;
    IF s.outcome = 'placed' OR s.outcome IS NOT NULL AND NOT is_placed THEN
        RETURN false;
    END IF;
    UPDATE send t SET outcome = new_outcome, reported = p_outcome WHERE t.token = p_token;
    IF (s.outcome IS NOT DISTINCT FROM 'absent') <> (new_outcome = 'absent') THEN
        PERFORM add_to_tally(
            c.campaign, s.at, 0, CASE new_outcome WHEN 'absent' THEN -1 ELSE 1 END, 0);
    END IF;
    -- A later epoch: a worker that claimed it meanwhile must not send it.
    UPDATE contact k SET state = p_outcome, worker = NULL, lease_until = NULL,
        reason = p_detail, epoch = k.epoch + (k.state IN ('pending', 'claimed'))::integer,
        not_before = greatest(k.not_before, CASE p_outcome WHEN 'pending' THEN p_not_before END)
    WHERE k.id = c.id AND CASE WHEN is_placed THEN k.state NOT IN ('placed', 'finished')
        ELSE k.state = 'sending' AND k.token = p_token END;
    moved := FOUND;
    -- The history shows if two calls were placed.
    PERFORM add_history(c.id, CASE WHEN NOT moved AND NOT is_placed THEN 'event' ELSE CASE p_outcome
        WHEN 'placed' THEN 'accept' WHEN 'pending' THEN 'retry' WHEN 'rejected' THEN 'reject'
        WHEN 'failed' THEN 'fail' ELSE 'mark_unknown' END END, p_detail, p_token);
    RETURN moved;
END
$$;

-- Takes back contacts whose lease expired. While a contact is being sent, its lease is the send's.
CREATE FUNCTION reap(p_campaign integer) RETURNS TABLE (released integer, unknown integer)
LANGUAGE sql AS $$
    WITH late AS (
        SELECT c.id, c.state FROM contact c
        WHERE c.campaign = p_campaign AND c.state IN ('claimed', 'sending')
            AND c.lease_until <= clock()
        ORDER BY c.id FOR UPDATE SKIP LOCKED
    ), moved AS (
        UPDATE contact c SET
            state = CASE late.state WHEN 'claimed' THEN 'pending'::contact_state
                ELSE 'unknown' END,
            reason = CASE late.state WHEN 'claimed' THEN c.reason
                ELSE 'the worker that sent it is gone' END,
            worker = NULL, lease_until = NULL
        FROM late WHERE c.id = late.id
        RETURNING c.id, c.state, c.token
    ), marked AS (
        UPDATE send s SET outcome = 'unknown' FROM moved m
        WHERE m.state = 'unknown' AND s.token = m.token
    ), noted AS (
        INSERT INTO passage (contact, at, what, detail, token)
        SELECT m.id, clock(), CASE m.state WHEN 'pending' THEN 'release' ELSE 'mark_unknown' END,
            CASE m.state WHEN 'pending' THEN 'the lease expired'
                ELSE 'the worker that sent it is gone' END,
            CASE m.state WHEN 'unknown' THEN m.token END
        FROM moved m
    )
    SELECT count(*) FILTER (WHERE m.state = 'pending')::integer,
        count(*) FILTER (WHERE m.state = 'unknown')::integer
    FROM moved m
$$;
