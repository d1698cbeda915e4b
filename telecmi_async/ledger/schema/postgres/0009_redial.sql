-- How often a contact was redialled because its call was not answered.
ALTER TABLE contact ADD COLUMN redials integer NOT NULL DEFAULT 0;

CREATE INDEX contact_missed ON contact (campaign, redials)
WHERE state = 'finished' AND NOT answered;

-- Whether the record of a send's call is there: a repeat of it says nothing about later sends.
ALTER TABLE send ADD COLUMN over boolean NOT NULL DEFAULT false;

UPDATE send s SET over = true FROM contact c
WHERE c.id = s.contact AND c.state = 'finished' AND s.outcome = 'placed';

-- Records an event of a call, as `record_event` does. Its repeats do not change a
-- contact that is redialled because its call was not answered; proof of an answer finishes it.
CREATE FUNCTION record_event_2(p_token text, p_request text, p_at double precision,
    p_over boolean, p_answered boolean, p_talk integer, p_cost double precision, p_detail text)
RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    s send;
    c contact;
    more double precision;
    is_news boolean;
    is_first boolean;
    moves boolean;
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
    moves := NOT s.over OR COALESCE(p_answered, false) AND NOT COALESCE(s.answered, false)
        AND c.state IN ('pending', 'claimed');
    more := greatest(p_cost - COALESCE(s.cost, 0), 0);
    UPDATE send t SET outcome = 'placed', last_event_at = clock(),
        over = t.over OR p_over, request_id = COALESCE(t.request_id, p_request),
        answered = greatest(t.answered, p_answered),
        talk_seconds = greatest(t.talk_seconds, p_talk), cost = greatest(t.cost, p_cost)
    WHERE t.token = s.token;
    IF s.outcome = 'absent' OR more > 0 THEN
        PERFORM add_to_tally(c.campaign, s.at, 0, CASE s.outcome WHEN 'absent' THEN 1 ELSE 0 END,
            COALESCE(more, 0));
    END IF;
    UPDATE contact k SET
        state = CASE WHEN NOT moves THEN k.state
            WHEN p_over OR k.state = 'finished' THEN 'finished'::contact_state
            ELSE 'placed' END,
        -- The earlier reason is void; the event itself is in the history.
        reason = CASE WHEN NOT moves OR k.state IN ('placed', 'finished') THEN k.reason
            ELSE '' END,
        -- A later epoch: a worker that claimed it must not send it.
        epoch = k.epoch + (moves AND k.state IN ('pending', 'claimed'))::integer,
        worker = CASE WHEN NOT moves THEN k.worker END,
        lease_until = CASE WHEN NOT moves THEN k.lease_until END,
        request_id = CASE WHEN moves THEN COALESCE(k.request_id, p_request) ELSE k.request_id END,
        answered = e.answered, talk_seconds = e.talk_seconds, cost = e.cost,
        finished_at = CASE WHEN moves
            THEN COALESCE(k.finished_at, CASE WHEN p_over THEN p_at END) ELSE k.finished_at END
    FROM (
        SELECT bool_or(t.answered) AS answered, sum(t.talk_seconds) AS talk_seconds,
            sum(t.cost) AS cost
        FROM send t WHERE t.number = c.number AND t.contact = c.id
    ) e
    WHERE k.id = c.id;
    INSERT INTO passage (contact, at, what, detail, token)
    SELECT c.id, p_at, done.what, p_detail, s.token FROM (VALUES
        ('accept', moves AND (is_first OR c.state NOT IN ('placed', 'finished'))),
        ('finish', moves AND p_over AND c.state <> 'finished'),
        ('event', is_news AND (NOT moves OR NOT is_first AND c.state IN ('placed', 'finished')
            AND NOT (p_over AND c.state <> 'finished')))
    ) AS done (what, is_so) WHERE done.is_so;
    RETURN (SELECT g.name FROM campaign g WHERE g.id = c.campaign);
END
$$;

-- Puts the result of a send on record, as `settle_2` does. A contact that was not placed this time,
-- and one of whose other calls was answered after all, is finished.
CREATE FUNCTION settle_3(p_token text, p_outcome contact_state, p_detail text, p_request text,
    p_not_before double precision, p_counts boolean, p_again boolean)
RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    moved boolean;
BEGIN
    moved := settle_2(p_token, p_outcome, p_detail, p_request, p_not_before, p_counts, p_again);
    WITH spared AS (
        UPDATE contact k SET state = 'finished', reason = '', epoch = k.epoch + 1,
            finished_at = COALESCE(k.finished_at, clock())
        FROM send t
        WHERE moved AND t.token = p_token AND k.id = t.contact AND k.token = p_token
            AND k.answered AND k.state IN ('pending', 'rejected', 'failed')
        RETURNING k.id
    )
    INSERT INTO passage (contact, at, what, detail)
    SELECT s.id, clock(), m.what, 'another of its calls was answered'
    FROM spared s, (VALUES ('accept'), ('finish')) AS m (what);
    RETURN moved;
END
$$;

-- Makes contacts pending whose records prove that the call was not answered: those redialled
-- fewer times than there are waits, each after its wait, or without waits the chosen ones at once.
CREATE FUNCTION redial_missed(p_campaign integer, p_numbers bigint[], p_waits double precision[])
RETURNS integer LANGUAGE sql AS $$
    WITH chosen AS (
        SELECT c.id, c.finished_at + COALESCE(p_waits[c.redials + 1], 0) AS due
        FROM contact c
        WHERE c.campaign = p_campaign AND c.state = 'finished' AND NOT c.answered
            AND (p_waits IS NULL OR c.redials < cardinality(p_waits))
            AND (p_numbers IS NULL OR c.number = ANY (p_numbers))
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
