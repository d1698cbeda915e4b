-- Calls with an idempotency key: at most one for each, even if the sending process
-- ends. States are those of ledger/idempotency.py; a lease that is over means 'unknown'.
CREATE TABLE keyed_call (
    key text PRIMARY KEY,
    token text NOT NULL UNIQUE,
    fingerprint text NOT NULL,
    state text NOT NULL CHECK (state IN ('sending', 'placed', 'unknown', 'absent')),
    lease_until double precision NOT NULL,
    expires double precision NOT NULL,
    region text NOT NULL,
    request_id text,
    detail text NOT NULL DEFAULT ''
);

CREATE INDEX keyed_call_expires ON keyed_call (expires);

-- Claims a key for a call if it is free, and returns the call that has it. A repeated query finds
-- its own token.
CREATE FUNCTION claim_key(p_key text, p_fingerprint text, p_token text, p_region text,
    p_lease double precision, p_lifetime double precision)
RETURNS keyed_call LANGUAGE plpgsql AS $$
DECLARE
    k keyed_call;
    the_time double precision;
BEGIN
    -- The update changes nothing, and locks the row of the call that has the key.
    INSERT INTO keyed_call AS c
        (key, token, fingerprint, state, lease_until, expires, region)
    VALUES (p_key, p_token, p_fingerprint, 'sending', clock() + p_lease,
        clock() + p_lifetime, p_region)
    ON CONFLICT (key) DO UPDATE SET key = c.key
    RETURNING * INTO k;
    the_time := clock();
    IF k.expires <= the_time OR k.fingerprint = p_fingerprint
        AND (k.state = 'absent' OR k.state = 'sending' AND k.token = p_token)
    THEN
        UPDATE keyed_call c SET token = p_token, fingerprint = p_fingerprint,
            state = 'sending', lease_until = the_time + p_lease,
            expires = the_time + p_lifetime, region = p_region, request_id = NULL, detail = ''
        WHERE c.key = p_key RETURNING * INTO k;
    END IF;
    -- Last, so that no row of it is locked while another one is waited for.
    DELETE FROM keyed_call d WHERE d.key IN (
        SELECT o.key FROM keyed_call o WHERE o.expires <= clock() AND o.key <> p_key
        ORDER BY o.expires LIMIT 5 FOR UPDATE SKIP LOCKED
    );
    RETURN k;
END
$$;
