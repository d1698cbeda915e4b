-- Evidence of calls, and limits that workers share.

-- Records an event of a call. The order of events, and copies of them, do not matter: the larger
-- value is the later one, since values of a call only grow.
CREATE FUNCTION record_event(p_token text, p_request text, p_at double precision, p_over boolean,
    p_answered boolean, p_talk integer, p_cost double precision, p_detail text)
RETURNS text LANGUAGE plpgsql AS $$
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

-- Moves unknown contacts whose calls are proven absent: the send had no event though there was
-- time; an event of another send arrived in the half hour in which this one's record would have
-- been sent again; and no call of about that time still waits for its record.
CREATE FUNCTION resolve_unknown(p_campaign integer, p_older double precision, p_policy text)
RETURNS integer LANGUAGE sql AS $$
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

-- Makes unknown contacts pending. Their sends still count under all limits.
CREATE FUNCTION redial(p_campaign integer, p_numbers bigint[]) RETURNS integer LANGUAGE sql AS $$
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

-- Reserves starts: the law is in `SharedLimits.reserve`. Rows are locked in the order of their
-- keys, before the clock is read: a start must not count from a time before the wait for a lock.
CREATE FUNCTION reserve(p_keys text[], p_intervals double precision[],
    p_longest double precision, p_most integer)
RETURNS double precision[] LANGUAGE plpgsql AS $$
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

-- Leases a channel, or renews the holder's lease, unless all are taken.
CREATE FUNCTION lease_channel(p_key text, p_holder text, p_limit integer,
    p_seconds double precision)
RETURNS boolean LANGUAGE plpgsql AS $$
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
