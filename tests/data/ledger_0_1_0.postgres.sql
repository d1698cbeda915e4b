-- A ledger that telecmi-async 0.1.0 wrote, with contacts in every state.
SET client_encoding = 'UTF8';
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
CREATE SCHEMA telecmi;
CREATE TYPE telecmi.contact_state AS ENUM (
    'pending',
    'claimed',
    'sending',
    'placed',
    'finished',
    'rejected',
    'failed',
    'blocked',
    'unknown'
);
CREATE FUNCTION telecmi.add_history(p_contact bigint, p_what text, p_detail text, p_token text) RETURNS void
    LANGUAGE sql
    AS $$
    INSERT INTO passage (contact, at, what, detail, token)
    VALUES (p_contact, clock(), p_what, p_detail, p_token)
$$;
CREATE FUNCTION telecmi.add_to_tally(p_campaign integer, p_at double precision, p_sends integer, p_may_ring integer, p_cost double precision) RETURNS void
    LANGUAGE sql
    AS $$
    INSERT INTO tally AS t (campaign, quarter, shard, sends, may_ring, cost)
    VALUES (p_campaign, floor(p_at / 900), pg_backend_pid() % 64, p_sends, p_may_ring, p_cost)
    ON CONFLICT (campaign, quarter, shard) DO UPDATE SET sends = t.sends + excluded.sends,
        may_ring = t.may_ring + excluded.may_ring, cost = t.cost + excluded.cost
$$;
CREATE TABLE telecmi.contact (
    id bigint NOT NULL,
    campaign integer NOT NULL,
    number bigint NOT NULL,
    columns json NOT NULL,
    state telecmi.contact_state DEFAULT 'pending'::telecmi.contact_state NOT NULL,
    reason text DEFAULT ''::text NOT NULL,
    epoch integer DEFAULT 0 NOT NULL,
    sends integer DEFAULT 0 NOT NULL,
    worker text,
    batch bigint,
    lease_until double precision,
    not_before double precision DEFAULT 0 NOT NULL,
    not_after double precision,
    token text,
    request_id text,
    answered boolean,
    talk_seconds integer,
    cost double precision,
    sent_at double precision,
    finished_at double precision
)
WITH (fillfactor='80', autovacuum_vacuum_scale_factor='0.02', autovacuum_analyze_scale_factor='0.02');
CREATE FUNCTION telecmi.claim(p_campaign integer, p_worker text, p_batch bigint, p_most integer, p_lease double precision) RETURNS SETOF telecmi.contact
    LANGUAGE plpgsql
    AS $$
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
CREATE FUNCTION telecmi.clock() RETURNS double precision
    LANGUAGE sql
    AS $$
    SELECT extract(epoch FROM clock_timestamp())::double precision
$$;
CREATE FUNCTION telecmi.find_refusal(c telecmi.contact, p_time double precision, p_check boolean, p_counts integer[], p_spans double precision[], p_per_day integer, p_day_began double precision, p_cost double precision) RETURNS TABLE(rule text, reason text, until double precision)
    LANGUAGE plpgsql
    AS $$
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
CREATE FUNCTION telecmi.intend(p_contact bigint, p_epoch integer, p_worker text, p_token text, p_fence double precision, p_lease double precision, p_check boolean, p_counts integer[], p_spans double precision[], p_per_day integer, p_day_began double precision, p_cost double precision, p_again boolean) RETURNS TABLE(send_by double precision, rule text, reason text, until double precision)
    LANGUAGE plpgsql
    AS $$
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
CREATE FUNCTION telecmi.lease_channel(p_key text, p_holder text, p_limit integer, p_seconds double precision) RETURNS boolean
    LANGUAGE plpgsql
    AS $$
DECLARE
    the_time double precision;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended(current_schema || ' channel ' || p_key, 0));
    the_time := clock();
    DELETE FROM channel c WHERE c.key = p_key AND c.until < the_time;
    IF p_limit <= (
        SELECT count(*) FROM channel c WHERE c.key = p_key AND c.holder <> p_holder
    ) THEN
        RETURN false;
    END IF;
    INSERT INTO channel (key, holder, until) VALUES (p_key, p_holder, the_time + p_seconds)
    ON CONFLICT (key, holder) DO UPDATE SET until = excluded.until;
    RETURN true;
END
$$;
CREATE FUNCTION telecmi.put_back(p_contact bigint, p_epoch integer, p_worker text, p_what text, p_reason text, p_until double precision, p_again boolean) RETURNS boolean
    LANGUAGE plpgsql
    AS $$
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
CREATE FUNCTION telecmi.reap(p_campaign integer) RETURNS TABLE(released integer, unknown integer)
    LANGUAGE sql
    AS $$
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
CREATE FUNCTION telecmi.record_event(p_token text, p_request text, p_at double precision, p_over boolean, p_answered boolean, p_talk integer, p_cost double precision, p_detail text) RETURNS text
    LANGUAGE plpgsql
    AS $$
DECLARE
    s send;
    c contact;
    more double precision;
    is_news boolean;
    is_first boolean;
BEGIN
    SELECT * INTO s FROM send t WHERE t.token = p_token;
    IF NOT FOUND THEN
        SELECT * INTO s FROM send t WHERE t.request_id = p_request LIMIT 1;
    END IF;
    IF s.token IS NULL THEN
        RETURN NULL;
    END IF;
    SELECT * INTO c FROM contact k WHERE k.id = s.contact FOR UPDATE;
    SELECT * INTO s FROM send t WHERE t.token = s.token FOR UPDATE;
    is_first := s.outcome IS DISTINCT FROM 'placed';
    is_news := NOT EXISTS (
        SELECT FROM passage e WHERE e.contact = c.id AND e.token = s.token AND e.at = p_at
            AND e.detail = p_detail AND e.what IN ('accept', 'finish', 'event')
    );
    more := greatest(p_cost - COALESCE(s.cost, 0), 0);
    UPDATE send t SET outcome = 'placed', last_event_at = clock(),
        request_id = COALESCE(t.request_id, p_request),
        answered = greatest(t.answered, p_answered),
        talk_seconds = greatest(t.talk_seconds, p_talk), cost = greatest(t.cost, p_cost)
    WHERE t.token = s.token;
    IF s.outcome = 'absent' OR more > 0 THEN
        PERFORM add_to_tally(c.campaign, s.at, 0, CASE s.outcome WHEN 'absent' THEN 1 ELSE 0 END,
            COALESCE(more, 0));
    END IF;
    UPDATE contact k SET
        state = CASE WHEN p_over OR k.state = 'finished' THEN 'finished'::contact_state
            ELSE 'placed' END,
        -- The earlier reason is void; the event itself is in the history.
        reason = CASE WHEN k.state IN ('placed', 'finished') THEN k.reason ELSE '' END,
        -- A later epoch: a worker that claimed it must not send it.
        epoch = k.epoch + (k.state IN ('pending', 'claimed'))::integer,
        worker = NULL, lease_until = NULL,
        request_id = COALESCE(k.request_id, p_request),
        answered = e.answered, talk_seconds = e.talk_seconds, cost = e.cost,
        finished_at = COALESCE(k.finished_at, CASE WHEN p_over THEN p_at END)
    FROM (
        SELECT bool_or(t.answered) AS answered, sum(t.talk_seconds) AS talk_seconds,
            sum(t.cost) AS cost
        FROM send t WHERE t.number = c.number AND t.contact = c.id
    ) e
    WHERE k.id = c.id;
    INSERT INTO passage (contact, at, what, detail, token)
    SELECT c.id, p_at, done.what, p_detail, s.token FROM (VALUES
        ('accept', is_first OR c.state NOT IN ('placed', 'finished')),
        ('finish', p_over AND c.state <> 'finished'),
        ('event', is_news AND NOT is_first AND c.state IN ('placed', 'finished')
            AND NOT (p_over AND c.state <> 'finished'))
    ) AS done (what, is_so) WHERE done.is_so;
    RETURN (SELECT g.name FROM campaign g WHERE g.id = c.campaign);
END
$$;
CREATE FUNCTION telecmi.redial(p_campaign integer, p_numbers bigint[]) RETURNS integer
    LANGUAGE sql
    AS $$
    WITH chosen AS (
        SELECT c.id FROM contact c
        WHERE c.campaign = p_campaign AND c.state = 'unknown'
            AND (p_numbers IS NULL OR c.number = ANY (p_numbers))
        ORDER BY c.id FOR UPDATE
    ), moved AS (
        UPDATE contact c SET state = 'pending', reason = ''
        FROM chosen WHERE c.id = chosen.id
        RETURNING c.id, c.token
    ), noted AS (
        INSERT INTO passage (contact, at, what, detail, token)
        SELECT m.id, clock(), 'redial', 'by decision', m.token FROM moved m
    )
    SELECT count(*)::integer FROM moved
$$;
CREATE FUNCTION telecmi.renew(p_worker text, p_lease double precision) RETURNS integer
    LANGUAGE plpgsql
    AS $$
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
CREATE FUNCTION telecmi.reserve(p_keys text[], p_intervals double precision[], p_longest double precision, p_most integer) RETURNS double precision[]
    LANGUAGE plpgsql
    AS $$
DECLARE
    the_time double precision;
    found_keys integer;
    earliest double precision;
    apart double precision;
    waits double precision[];
BEGIN
    PERFORM FROM pace p WHERE p.key = ANY (p_keys) ORDER BY p.key FOR UPDATE;
    GET DIAGNOSTICS found_keys = ROW_COUNT;
    IF found_keys < cardinality(p_keys) THEN
        INSERT INTO pace (key, due) SELECT k, 0 FROM unnest(p_keys) k ORDER BY k
        ON CONFLICT (key) DO NOTHING;
        PERFORM FROM pace p WHERE p.key = ANY (p_keys) ORDER BY p.key FOR UPDATE;
    END IF;
    the_time := clock();
    SELECT greatest(max(p.due), the_time) INTO earliest FROM pace p WHERE p.key = ANY (p_keys);
    SELECT max(i) INTO apart FROM unnest(p_intervals) AS i;
    SELECT coalesce(array_agg(w.wait ORDER BY w.wait), '{}') INTO waits FROM (
        SELECT earliest - the_time + apart * n AS wait FROM generate_series(0, p_most - 1) AS n
    ) AS w WHERE w.wait <= p_longest;
    IF cardinality(waits) > 0 THEN
        UPDATE pace p SET due = the_time + waits[cardinality(waits)] + k.interval
        FROM unnest(p_keys, p_intervals) AS k (key, interval) WHERE p.key = k.key;
    END IF;
    RETURN waits;
END
$$;
CREATE FUNCTION telecmi.resolve_unknown(p_campaign integer, p_older double precision, p_policy text) RETURNS integer
    LANGUAGE sql
    AS $$
    WITH silent AS (
        SELECT c.id, c.token FROM contact c JOIN send s ON s.token = c.token
        WHERE c.campaign = p_campaign AND c.state = 'unknown' AND s.outcome = 'unknown'
            AND s.last_event_at IS NULL AND s.send_by + p_older < clock()
            AND EXISTS (
                SELECT FROM send o
                WHERE o.campaign = s.campaign
                    AND o.at BETWEEN s.at - p_older AND s.send_by + 1800
                    AND o.last_event_at > s.send_by
                    AND o.last_event_at <= s.send_by + 1800
            )
            AND NOT EXISTS (
                SELECT FROM contact p
                WHERE p.campaign = s.campaign AND p.state = 'placed'
                    AND p.sent_at BETWEEN s.at - 1800 AND s.send_by + 1800
            )
        ORDER BY c.id FOR UPDATE OF c SKIP LOCKED
    ), moved AS (
        UPDATE contact c SET
            state = CASE p_policy WHEN 'give_up' THEN 'failed'::contact_state ELSE 'pending' END,
            reason = format('no event of it came within %s seconds, while others'' did', p_older)
        FROM silent WHERE c.id = silent.id
        RETURNING c.id, c.state, c.token, c.reason
    ), marked AS (
        UPDATE send s SET outcome = 'absent' FROM moved m WHERE s.token = m.token
        RETURNING floor(s.at / 900)::integer AS quarter
    ), counted AS (
        INSERT INTO tally AS t (campaign, quarter, shard, sends, may_ring, cost)
        SELECT p_campaign, m.quarter, pg_backend_pid() % 64, 0, -count(*), 0
        FROM marked m GROUP BY m.quarter ORDER BY m.quarter
        ON CONFLICT (campaign, quarter, shard) DO UPDATE SET may_ring = t.may_ring + excluded.may_ring
    ), noted AS (
        INSERT INTO passage (contact, at, what, detail, token)
        SELECT m.id, clock(), CASE m.state WHEN 'failed' THEN 'give_up' ELSE 'resolve_unknown' END,
            m.reason, m.token
        FROM moved m
    )
    SELECT count(*)::integer FROM moved
$$;
CREATE FUNCTION telecmi.settle(p_token text, p_outcome telecmi.contact_state, p_detail text, p_request text, p_not_before double precision, p_again boolean) RETURNS boolean
    LANGUAGE plpgsql
    AS $$
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
CREATE TABLE telecmi.campaign (
    id integer NOT NULL,
    name text NOT NULL,
    settings json NOT NULL,
    status text DEFAULT 'running'::text NOT NULL,
    why text DEFAULT ''::text NOT NULL,
    created double precision NOT NULL,
    CONSTRAINT campaign_status_check CHECK ((status = ANY (ARRAY['running'::text, 'paused'::text, 'stopped'::text])))
);
ALTER TABLE telecmi.campaign ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME telecmi.campaign_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE telecmi.channel (
    key text NOT NULL,
    holder text NOT NULL,
    until double precision NOT NULL
);
ALTER TABLE telecmi.contact ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME telecmi.contact_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE telecmi.do_not_call (
    number bigint NOT NULL,
    source text NOT NULL,
    at double precision NOT NULL
);
CREATE TABLE telecmi.migration (
    version integer NOT NULL
);
CREATE TABLE telecmi.pace (
    key text NOT NULL,
    due double precision NOT NULL
)
WITH (fillfactor='50');
CREATE TABLE telecmi.passage (
    id bigint NOT NULL,
    contact bigint NOT NULL,
    at double precision NOT NULL,
    what text NOT NULL,
    detail text DEFAULT ''::text NOT NULL,
    token text
);
ALTER TABLE telecmi.passage ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME telecmi.passage_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE telecmi.send (
    token text NOT NULL,
    contact bigint NOT NULL,
    campaign integer NOT NULL,
    number bigint NOT NULL,
    at double precision NOT NULL,
    send_by double precision NOT NULL,
    outcome text,
    reported telecmi.contact_state,
    request_id text,
    last_event_at double precision,
    answered boolean,
    talk_seconds integer,
    cost double precision,
    CONSTRAINT send_outcome_check CHECK ((outcome = ANY (ARRAY['placed'::text, 'unknown'::text, 'absent'::text])))
)
WITH (fillfactor='80');
CREATE TABLE telecmi.tally (
    campaign integer NOT NULL,
    quarter integer NOT NULL,
    shard integer NOT NULL,
    sends bigint NOT NULL,
    may_ring bigint NOT NULL,
    cost double precision NOT NULL
)
WITH (fillfactor='50');
INSERT INTO telecmi.campaign OVERRIDING SYSTEM VALUE VALUES (1, 'spring', '{"flow":[{"action":"speak","text":"Hello {name}"},{"action":"hangup"}],"rules":{"window":null,"per_number":[{"count":2,"per":86400}],"per_day":null,"cost":null,"not_after":null,"do_not_call":true},"pace":{"calls_per_second":50.0,"max_live_calls":null,"max_in_flight":40,"shared":"account","caller_id_calls_per_second":null,"campaign_calls_per_second":null},"retries":{"attempts":3,"first":1.0,"longest":1800.0},"unknown":"hold","from":19170000000}', 'running', '', 1795997180.855028);
INSERT INTO telecmi.campaign OVERRIDING SYSTEM VALUE VALUES (2, 'autumn', '{"flow":[{"action":"hangup"}],"rules":{"window":null,"per_number":[],"per_day":null,"cost":null,"not_after":null,"do_not_call":true},"pace":{"calls_per_second":1.0,"max_live_calls":null,"max_in_flight":40,"shared":"account","caller_id_calls_per_second":null,"campaign_calls_per_second":null},"retries":{"attempts":4,"first":30.0,"longest":1800.0},"unknown":"hold","from":null}', 'paused', 'for lunch', 1795997180.87369);
INSERT INTO telecmi.channel VALUES ('account', 'spring/19170100004', 1795997241.21987);
INSERT INTO telecmi.contact OVERRIDING SYSTEM VALUE VALUES (17, 1, 19170100016, '{"name":"N16 \u00fc"}', 'pending', '', 0, 0, NULL, NULL, NULL, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO telecmi.contact OVERRIDING SYSTEM VALUE VALUES (18, 1, 19170100017, '{"name":"N17 \u00fc"}', 'pending', '', 0, 0, NULL, NULL, NULL, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO telecmi.contact OVERRIDING SYSTEM VALUE VALUES (19, 2, 19170100000, '{}', 'pending', '', 0, 0, NULL, NULL, NULL, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO telecmi.contact OVERRIDING SYSTEM VALUE VALUES (20, 2, 19170100001, '{}', 'pending', '', 0, 0, NULL, NULL, NULL, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO telecmi.contact OVERRIDING SYSTEM VALUE VALUES (21, 2, 19170100002, '{}', 'pending', '', 0, 0, NULL, NULL, NULL, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO telecmi.contact OVERRIDING SYSTEM VALUE VALUES (1, 1, 19170100000, '{"name":"N0 \u00fc"}', 'claimed', '', 1, 0, 'w1', 1466428090494546353, 1795997241.079093, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO telecmi.contact OVERRIDING SYSTEM VALUE VALUES (2, 1, 19170100001, '{"name":"N1 \u00fc"}', 'claimed', '', 1, 0, 'w1', 1466428090494546353, 1795997241.079093, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO telecmi.contact OVERRIDING SYSTEM VALUE VALUES (3, 1, 19170100002, '{"name":"N2 \u00fc"}', 'sending', '', 1, 1, 'w1', 1466428090494546353, 1795997301.102047, 0, NULL, 'tcm_2', NULL, NULL, NULL, NULL, 1795997181.102047, NULL);
INSERT INTO telecmi.contact OVERRIDING SYSTEM VALUE VALUES (4, 1, 19170100003, '{"name":"N3 \u00fc"}', 'sending', '', 1, 1, 'w1', 1466428090494546353, 1795997301.116846, 0, NULL, 'tcm_3', NULL, NULL, NULL, NULL, 1795997181.116846, NULL);
INSERT INTO telecmi.contact OVERRIDING SYSTEM VALUE VALUES (8, 1, 19170100007, '{"name":"N7 \u00fc"}', 'finished', '', 1, 1, NULL, 1466428090494546353, NULL, 0, NULL, 'tcm_7', 'req7', false, 0, 0, 1795997181.162608, 1795997181.184336);
INSERT INTO telecmi.contact OVERRIDING SYSTEM VALUE VALUES (5, 1, 19170100004, '{"name":"N4 \u00fc"}', 'placed', '', 1, 1, NULL, 1466428090494546353, NULL, 0, NULL, 'tcm_4', 'req4', NULL, NULL, NULL, 1795997181.123627, NULL);
INSERT INTO telecmi.contact OVERRIDING SYSTEM VALUE VALUES (6, 1, 19170100005, '{"name":"N5 \u00fc"}', 'placed', '', 1, 1, NULL, 1466428090494546353, NULL, 0, NULL, 'tcm_5', 'req5', NULL, NULL, NULL, 1795997181.132935, NULL);
INSERT INTO telecmi.contact OVERRIDING SYSTEM VALUE VALUES (9, 1, 19170100008, '{"name":"N8 \u00fc"}', 'rejected', 'HTTP 404', 1, 1, NULL, 1466428090494546353, NULL, 0, NULL, 'tcm_8', NULL, NULL, NULL, NULL, 1795997181.186001, NULL);
INSERT INTO telecmi.contact OVERRIDING SYSTEM VALUE VALUES (7, 1, 19170100006, '{"name":"N6 \u00fc"}', 'finished', '', 1, 1, NULL, 1466428090494546353, NULL, 0, NULL, 'tcm_6', 'req6', true, 30, 1.5, 1795997181.140591, 1795997181.14223);
INSERT INTO telecmi.contact OVERRIDING SYSTEM VALUE VALUES (10, 1, 19170100009, '{"name":"N9 \u00fc"}', 'failed', 'three times too many', 1, 1, NULL, 1466428090494546353, NULL, 0, NULL, 'tcm_9', NULL, NULL, NULL, NULL, 1795997181.189014, NULL);
INSERT INTO telecmi.contact OVERRIDING SYSTEM VALUE VALUES (11, 1, 19170100010, '{"name":"N10 \u00fc"}', 'blocked', 'do_not_call: asked us', 1, 0, NULL, 1466428090494546353, NULL, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO telecmi.contact OVERRIDING SYSTEM VALUE VALUES (12, 1, 19170100011, '{"name":"N11 \u00fc"}', 'pending', 'window: it is night', 1, 0, NULL, 1466428090494546353, NULL, 1795997182.190871, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO telecmi.contact OVERRIDING SYSTEM VALUE VALUES (13, 1, 19170100012, '{"name":"N12 \u00fc"}', 'unknown', 'ReadTimeout', 1, 1, NULL, 1466428090494546353, NULL, 0, NULL, 'tcm_12', NULL, NULL, NULL, NULL, 1795997181.191692, NULL);
INSERT INTO telecmi.contact OVERRIDING SYSTEM VALUE VALUES (14, 1, 19170100013, '{"name":"N13 \u00fc"}', 'pending', 'too many', 1, 1, NULL, 1466428090494546353, NULL, 1795997182.192535, NULL, 'tcm_13', NULL, NULL, NULL, NULL, 1795997181.192882, NULL);
INSERT INTO telecmi.contact OVERRIDING SYSTEM VALUE VALUES (15, 1, 19170100014, '{"name":"N14 \u00fc"}', 'pending', '', 1, 1, NULL, 1466428090494546353, NULL, 0, NULL, 'tcm_14', NULL, NULL, NULL, NULL, 1795997181.193691, NULL);
INSERT INTO telecmi.contact OVERRIDING SYSTEM VALUE VALUES (16, 1, 19170100015, '{"name":"N15 \u00fc"}', 'pending', '', 1, 0, NULL, 1466428090494546353, NULL, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO telecmi.do_not_call VALUES (19170100100, 'asked us', 1795997181.077727);
INSERT INTO telecmi.migration VALUES (1);
INSERT INTO telecmi.migration VALUES (2);
INSERT INTO telecmi.migration VALUES (3);
INSERT INTO telecmi.pace VALUES ('account', 1795997181.238033);
INSERT INTO telecmi.passage OVERRIDING SYSTEM VALUE VALUES (1, 1, 1795997181.079093, 'claim', 'w1', NULL);
INSERT INTO telecmi.passage OVERRIDING SYSTEM VALUE VALUES (2, 2, 1795997181.079093, 'claim', 'w1', NULL);
INSERT INTO telecmi.passage OVERRIDING SYSTEM VALUE VALUES (3, 3, 1795997181.079093, 'claim', 'w1', NULL);
INSERT INTO telecmi.passage OVERRIDING SYSTEM VALUE VALUES (4, 4, 1795997181.079093, 'claim', 'w1', NULL);
INSERT INTO telecmi.passage OVERRIDING SYSTEM VALUE VALUES (5, 5, 1795997181.079093, 'claim', 'w1', NULL);
INSERT INTO telecmi.passage OVERRIDING SYSTEM VALUE VALUES (6, 6, 1795997181.079093, 'claim', 'w1', NULL);
INSERT INTO telecmi.passage OVERRIDING SYSTEM VALUE VALUES (7, 7, 1795997181.079093, 'claim', 'w1', NULL);
INSERT INTO telecmi.passage OVERRIDING SYSTEM VALUE VALUES (8, 8, 1795997181.079093, 'claim', 'w1', NULL);
INSERT INTO telecmi.passage OVERRIDING SYSTEM VALUE VALUES (9, 9, 1795997181.079093, 'claim', 'w1', NULL);
INSERT INTO telecmi.passage OVERRIDING SYSTEM VALUE VALUES (10, 10, 1795997181.079093, 'claim', 'w1', NULL);
INSERT INTO telecmi.passage OVERRIDING SYSTEM VALUE VALUES (11, 11, 1795997181.079093, 'claim', 'w1', NULL);
INSERT INTO telecmi.passage OVERRIDING SYSTEM VALUE VALUES (12, 12, 1795997181.079093, 'claim', 'w1', NULL);
INSERT INTO telecmi.passage OVERRIDING SYSTEM VALUE VALUES (13, 13, 1795997181.079093, 'claim', 'w1', NULL);
INSERT INTO telecmi.passage OVERRIDING SYSTEM VALUE VALUES (14, 14, 1795997181.079093, 'claim', 'w1', NULL);
INSERT INTO telecmi.passage OVERRIDING SYSTEM VALUE VALUES (15, 15, 1795997181.079093, 'claim', 'w1', NULL);
INSERT INTO telecmi.passage OVERRIDING SYSTEM VALUE VALUES (16, 16, 1795997181.079093, 'claim', 'w1', NULL);
INSERT INTO telecmi.passage OVERRIDING SYSTEM VALUE VALUES (17, 3, 1795997181.10259, 'intend', 'w1', 'tcm_2');
INSERT INTO telecmi.passage OVERRIDING SYSTEM VALUE VALUES (18, 4, 1795997181.117029, 'intend', 'w1', 'tcm_3');
INSERT INTO telecmi.passage OVERRIDING SYSTEM VALUE VALUES (19, 5, 1795997181.123802, 'intend', 'w1', 'tcm_4');
INSERT INTO telecmi.passage OVERRIDING SYSTEM VALUE VALUES (20, 5, 1795997181.131764, 'accept', '', 'tcm_4');
INSERT INTO telecmi.passage OVERRIDING SYSTEM VALUE VALUES (21, 6, 1795997181.1331, 'intend', 'w1', 'tcm_5');
INSERT INTO telecmi.passage OVERRIDING SYSTEM VALUE VALUES (22, 6, 1795997181.136028, 'accept', '', 'tcm_5');
INSERT INTO telecmi.passage OVERRIDING SYSTEM VALUE VALUES (23, 7, 1795997181.140787, 'intend', 'w1', 'tcm_6');
INSERT INTO telecmi.passage OVERRIDING SYSTEM VALUE VALUES (24, 7, 1795997181.141793, 'accept', '', 'tcm_6');
INSERT INTO telecmi.passage OVERRIDING SYSTEM VALUE VALUES (25, 7, 1795997181.14223, 'finish', '', 'tcm_6');
INSERT INTO telecmi.passage OVERRIDING SYSTEM VALUE VALUES (26, 8, 1795997181.162739, 'intend', 'w1', 'tcm_7');
INSERT INTO telecmi.passage OVERRIDING SYSTEM VALUE VALUES (27, 8, 1795997181.180367, 'accept', '', 'tcm_7');
INSERT INTO telecmi.passage OVERRIDING SYSTEM VALUE VALUES (28, 8, 1795997181.184336, 'finish', '', 'tcm_7');
INSERT INTO telecmi.passage OVERRIDING SYSTEM VALUE VALUES (29, 9, 1795997181.186071, 'intend', 'w1', 'tcm_8');
INSERT INTO telecmi.passage OVERRIDING SYSTEM VALUE VALUES (30, 9, 1795997181.188539, 'reject', 'HTTP 404', 'tcm_8');
INSERT INTO telecmi.passage OVERRIDING SYSTEM VALUE VALUES (31, 10, 1795997181.189074, 'intend', 'w1', 'tcm_9');
INSERT INTO telecmi.passage OVERRIDING SYSTEM VALUE VALUES (32, 10, 1795997181.189837, 'fail', 'three times too many', 'tcm_9');
INSERT INTO telecmi.passage OVERRIDING SYSTEM VALUE VALUES (33, 11, 1795997181.190497, 'block', 'do_not_call: asked us', NULL);
INSERT INTO telecmi.passage OVERRIDING SYSTEM VALUE VALUES (34, 12, 1795997181.191244, 'postpone', 'window: it is night', NULL);
INSERT INTO telecmi.passage OVERRIDING SYSTEM VALUE VALUES (35, 13, 1795997181.191762, 'intend', 'w1', 'tcm_12');
INSERT INTO telecmi.passage OVERRIDING SYSTEM VALUE VALUES (36, 13, 1795997181.192221, 'mark_unknown', 'ReadTimeout', 'tcm_12');
INSERT INTO telecmi.passage OVERRIDING SYSTEM VALUE VALUES (37, 14, 1795997181.192937, 'intend', 'w1', 'tcm_13');
INSERT INTO telecmi.passage OVERRIDING SYSTEM VALUE VALUES (38, 14, 1795997181.193358, 'retry', 'too many', 'tcm_13');
INSERT INTO telecmi.passage OVERRIDING SYSTEM VALUE VALUES (39, 15, 1795997181.19374, 'intend', 'w1', 'tcm_14');
INSERT INTO telecmi.passage OVERRIDING SYSTEM VALUE VALUES (40, 15, 1795997181.194076, 'mark_unknown', 'reset', 'tcm_14');
INSERT INTO telecmi.passage OVERRIDING SYSTEM VALUE VALUES (41, 15, 1795997181.195415, 'redial', 'by decision', 'tcm_14');
INSERT INTO telecmi.passage OVERRIDING SYSTEM VALUE VALUES (42, 16, 1795997181.19604, 'release', 'w1', NULL);
INSERT INTO telecmi.send VALUES ('tcm_2', 3, 1, 19170100002, 1795997181.102047, 1795997211.102047, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO telecmi.send VALUES ('tcm_3', 4, 1, 19170100003, 1795997181.116846, 1795997211.116846, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO telecmi.send VALUES ('tcm_4', 5, 1, 19170100004, 1795997181.123627, 1795997211.123627, 'placed', 'placed', 'req4', NULL, NULL, NULL, NULL);
INSERT INTO telecmi.send VALUES ('tcm_5', 6, 1, 19170100005, 1795997181.132935, 1795997211.132935, 'placed', 'placed', 'req5', NULL, NULL, NULL, NULL);
INSERT INTO telecmi.send VALUES ('tcm_6', 7, 1, 19170100006, 1795997181.140591, 1795997211.140591, 'placed', 'placed', 'req6', 1795997181.150163, true, 30, 1.5);
INSERT INTO telecmi.send VALUES ('tcm_7', 8, 1, 19170100007, 1795997181.162608, 1795997211.162608, 'placed', 'placed', 'req7', 1795997181.185122, false, 0, 0);
INSERT INTO telecmi.send VALUES ('tcm_8', 9, 1, 19170100008, 1795997181.186001, 1795997211.186001, 'absent', 'rejected', NULL, NULL, NULL, NULL, NULL);
INSERT INTO telecmi.send VALUES ('tcm_9', 10, 1, 19170100009, 1795997181.189014, 1795997211.189014, 'absent', 'failed', NULL, NULL, NULL, NULL, NULL);
INSERT INTO telecmi.send VALUES ('tcm_12', 13, 1, 19170100012, 1795997181.191692, 1795997211.191692, 'unknown', 'unknown', NULL, NULL, NULL, NULL, NULL);
INSERT INTO telecmi.send VALUES ('tcm_13', 14, 1, 19170100013, 1795997181.192882, 1795997211.192882, 'absent', 'pending', NULL, NULL, NULL, NULL, NULL);
INSERT INTO telecmi.send VALUES ('tcm_14', 15, 1, 19170100014, 1795997181.193691, 1795997211.193691, 'unknown', 'unknown', NULL, NULL, NULL, NULL, NULL);
INSERT INTO telecmi.tally VALUES (1, 1995552, 50, 11, 8, 1.5);
SELECT pg_catalog.setval('telecmi.campaign_id_seq', 2, true);
SELECT pg_catalog.setval('telecmi.contact_id_seq', 21, true);
SELECT pg_catalog.setval('telecmi.passage_id_seq', 42, true);
ALTER TABLE ONLY telecmi.campaign
    ADD CONSTRAINT campaign_name_key UNIQUE (name);
ALTER TABLE ONLY telecmi.campaign
    ADD CONSTRAINT campaign_pkey PRIMARY KEY (id);
ALTER TABLE ONLY telecmi.channel
    ADD CONSTRAINT channel_pkey PRIMARY KEY (key, holder);
ALTER TABLE ONLY telecmi.contact
    ADD CONSTRAINT contact_campaign_number_key UNIQUE (campaign, number);
ALTER TABLE ONLY telecmi.contact
    ADD CONSTRAINT contact_pkey PRIMARY KEY (id);
ALTER TABLE ONLY telecmi.do_not_call
    ADD CONSTRAINT do_not_call_pkey PRIMARY KEY (number);
ALTER TABLE ONLY telecmi.migration
    ADD CONSTRAINT migration_pkey PRIMARY KEY (version);
ALTER TABLE ONLY telecmi.pace
    ADD CONSTRAINT pace_pkey PRIMARY KEY (key);
ALTER TABLE ONLY telecmi.passage
    ADD CONSTRAINT passage_pkey PRIMARY KEY (id);
ALTER TABLE ONLY telecmi.send
    ADD CONSTRAINT send_pkey PRIMARY KEY (token);
ALTER TABLE ONLY telecmi.tally
    ADD CONSTRAINT tally_pkey PRIMARY KEY (campaign, quarter, shard);
CREATE INDEX contact_due ON telecmi.contact USING btree (campaign, not_before, id) WHERE (state = 'pending'::telecmi.contact_state);
CREATE INDEX contact_held ON telecmi.contact USING btree (worker) WHERE (state = ANY (ARRAY['claimed'::telecmi.contact_state, 'sending'::telecmi.contact_state]));
CREATE INDEX contact_state ON telecmi.contact USING btree (campaign, state);
CREATE INDEX passage_contact ON telecmi.passage USING btree (contact, id);
CREATE INDEX send_campaign ON telecmi.send USING btree (campaign, at);
CREATE INDEX send_number ON telecmi.send USING btree (number, at);
CREATE INDEX send_request ON telecmi.send USING btree (request_id) WHERE (request_id IS NOT NULL);
