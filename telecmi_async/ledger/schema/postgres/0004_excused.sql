-- Sends that do not count as attempts, and contacts that a person has tried again.

-- How many of a contact's sends do not count as attempts: no network, "too many", or sent before
-- a person had it tried again.
ALTER TABLE contact ADD COLUMN excused integer NOT NULL DEFAULT 0;

-- Puts the result of a send on record, and whether it counts as an attempt if its contact is tried
-- again. Repeated, it finds the contact moved on.
CREATE FUNCTION settle_2(p_token text, p_outcome contact_state, p_detail text, p_request text,
    p_not_before double precision, p_counts boolean, p_again boolean)
RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    UPDATE contact k SET excused = k.excused + 1 FROM send t
    WHERE NOT p_counts AND p_outcome = 'pending' AND t.token = p_token AND k.id = t.contact
        AND k.token = p_token AND k.state = 'sending';
    RETURN settle(p_token, p_outcome, p_detail, p_request, p_not_before, p_again);
END
$$;

-- Makes rejected or failed contacts pending, unless one of their sends may have rung.
CREATE FUNCTION reopen(p_campaign integer, p_numbers bigint[], p_state contact_state,
    p_reason text)
RETURNS integer LANGUAGE sql AS $$
    WITH chosen AS (
        SELECT c.id FROM contact c
        WHERE c.campaign = p_campaign AND c.state = p_state
            AND c.state IN ('rejected', 'failed')
            AND (p_numbers IS NULL OR c.number = ANY (p_numbers))
            AND strpos(c.reason, p_reason) > 0
            AND NOT EXISTS (
                SELECT FROM send s WHERE s.number = c.number AND s.contact = c.id
                    AND s.outcome IS DISTINCT FROM 'absent'
            )
        ORDER BY c.id FOR UPDATE
    ), moved AS (
        UPDATE contact c SET state = 'pending', reason = '', excused = c.sends
        FROM chosen WHERE c.id = chosen.id
        RETURNING c.id
    ), noted AS (
        INSERT INTO passage (contact, at, what, detail)
        SELECT m.id, clock(), 'reopen', 'by decision' FROM moved m
    )
    SELECT count(*)::integer FROM moved
$$;
