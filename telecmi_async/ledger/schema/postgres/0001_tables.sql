-- Tables. Times are seconds since 1970 by the server's clock. There are no foreign keys: campaigns
-- and contacts are never deleted, and only the functions of the next files move contacts.

CREATE TYPE contact_state AS ENUM (
    'pending', 'claimed', 'sending', 'placed', 'finished', 'rejected', 'failed', 'blocked',
    'unknown'
);

CREATE TABLE campaign (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE,
    settings json NOT NULL,
    status text NOT NULL DEFAULT 'running' CHECK (status IN ('running', 'paused', 'stopped')),
    why text NOT NULL DEFAULT '',
    created double precision NOT NULL
);

-- A contact changes about six times, so its page keeps room for new versions.
CREATE TABLE contact (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    campaign integer NOT NULL,
    number bigint NOT NULL,
    columns json NOT NULL,
    state contact_state NOT NULL DEFAULT 'pending',
    reason text NOT NULL DEFAULT '',
    epoch integer NOT NULL DEFAULT 0,
    sends integer NOT NULL DEFAULT 0,
    -- The claim: its worker, the call of `claim` that made it, and the end of its lease.
    worker text,
    batch bigint,
    lease_until double precision,
    not_before double precision NOT NULL DEFAULT 0,
    not_after double precision,
    -- Its latest send.
    token text,
    request_id text,
    answered boolean,
    talk_seconds integer,
    cost double precision,
    sent_at double precision,
    finished_at double precision,
    UNIQUE (campaign, number)
) WITH (
    fillfactor = 80,
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_analyze_scale_factor = 0.02
);
CREATE INDEX contact_due ON contact (campaign, not_before, id) WHERE state = 'pending';
CREATE INDEX contact_held ON contact (worker) WHERE state IN ('claimed', 'sending');
CREATE INDEX contact_state ON contact (campaign, state);

-- One row for each request that left or may have left; it is written before the first byte.
CREATE TABLE send (
    token text PRIMARY KEY,
    contact bigint NOT NULL,
    campaign integer NOT NULL,
    number bigint NOT NULL,
    at double precision NOT NULL,
    send_by double precision NOT NULL,
    -- NULL while it is on its way; 'absent' if certainly no phone rang.
    outcome text CHECK (outcome IN ('placed', 'unknown', 'absent')),
    -- The result that its worker reported, so that a repeated report is recognised.
    reported contact_state,
    request_id text,
    -- When its latest event arrived.
    last_event_at double precision,
    answered boolean,
    talk_seconds integer,
    cost double precision
) WITH (fillfactor = 80);
CREATE INDEX send_number ON send (number, at);
CREATE INDEX send_campaign ON send (campaign, at);
CREATE INDEX send_request ON send (request_id) WHERE request_id IS NOT NULL;

CREATE TABLE passage (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    contact bigint NOT NULL,
    at double precision NOT NULL,
    what text NOT NULL,
    detail text NOT NULL DEFAULT '',
    token text
);
CREATE INDEX passage_contact ON passage (contact, id);

-- A campaign's sums for each quarter of an hour, so that a daily limit does not count the day's
-- sends: in every time zone days begin on a quarter. Each connection adds to a row of its own
-- (shard), so that none waits for another. may_ring: all sends but the absent ones.
CREATE TABLE tally (
    campaign integer NOT NULL,
    quarter integer NOT NULL,
    shard integer NOT NULL,
    sends bigint NOT NULL,
    may_ring bigint NOT NULL,
    cost double precision NOT NULL,
    PRIMARY KEY (campaign, quarter, shard)
) WITH (fillfactor = 50);

CREATE TABLE do_not_call (
    number bigint PRIMARY KEY,
    source text NOT NULL,
    at double precision NOT NULL
);

-- When the next start is due under each shared limit.
CREATE TABLE pace (
    key text PRIMARY KEY,
    due double precision NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE channel (
    key text NOT NULL,
    holder text NOT NULL,
    until double precision NOT NULL,
    PRIMARY KEY (key, holder)
);
