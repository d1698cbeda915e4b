-- The contacts of campaigns, each send to them, and their histories.
-- Times are seconds since 1970 (UTC). States and moves are those of ledger/states.py.

CREATE TABLE campaign (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    created REAL NOT NULL,
    settings TEXT NOT NULL,
    status TEXT NOT NULL DEFAULT 'running' CHECK (status IN ('running', 'paused', 'stopped')),
    why TEXT NOT NULL DEFAULT '',
    -- The count of intents to send.
    sends INTEGER NOT NULL DEFAULT 0,
    cost REAL NOT NULL DEFAULT 0
);

CREATE TABLE contact (
    id INTEGER PRIMARY KEY,
    campaign INTEGER NOT NULL REFERENCES campaign,
    number INTEGER NOT NULL,
    columns TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'pending' CHECK (
        state IN (
            'pending', 'claimed', 'sending', 'placed', 'finished',
            'rejected', 'failed', 'blocked', 'unknown'
        )
    ),
    reason TEXT NOT NULL DEFAULT '',
    -- The count of its claims: an older claim is void.
    epoch INTEGER NOT NULL DEFAULT 0,
    -- The claim's worker and lease. A send has its own.
    worker TEXT,
    lease_until REAL,
    not_before REAL NOT NULL DEFAULT 0,
    not_after REAL,
    sends INTEGER NOT NULL DEFAULT 0,
    request_id TEXT,
    answered INTEGER,
    talk_seconds INTEGER,
    cost REAL,
    sent_at REAL,
    finished_at REAL,
    UNIQUE (campaign, number),
    CHECK ((state = 'claimed') = (worker IS NOT NULL)),
    CHECK ((state = 'claimed') = (lease_until IS NOT NULL))
);

CREATE INDEX contact_due ON contact (campaign, not_before, id) WHERE state = 'pending';
CREATE INDEX contact_claimed ON contact (campaign, lease_until) WHERE state = 'claimed';
CREATE INDEX contact_unknown ON contact (campaign) WHERE state = 'unknown';
CREATE INDEX contact_placed ON contact (campaign, sent_at) WHERE state = 'placed';

-- One intent to send, and its result. Once it is on record a phone may ring, until it is proven
-- that none did: then the send is 'absent', and counts under no limit.
CREATE TABLE send (
    id INTEGER PRIMARY KEY,
    token TEXT NOT NULL UNIQUE,
    contact INTEGER NOT NULL REFERENCES contact,
    campaign INTEGER NOT NULL REFERENCES campaign,
    number INTEGER NOT NULL,
    worker TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    state TEXT NOT NULL DEFAULT 'sending' CHECK (
        state IN ('sending', 'placed', 'finished', 'unknown', 'absent')
    ),
    at REAL NOT NULL,
    send_by REAL NOT NULL,
    lease_until REAL NOT NULL,
    detail TEXT NOT NULL DEFAULT '',
    request_id TEXT,
    -- When the latest event of it arrived.
    last_event_at REAL,
    answered INTEGER,
    talk_seconds INTEGER,
    cost REAL
);

CREATE INDEX send_number ON send (number, at);
CREATE INDEX send_campaign ON send (campaign, at);
CREATE INDEX send_open ON send (campaign, lease_until) WHERE state = 'sending';
CREATE INDEX send_unknown ON send (campaign) WHERE state = 'unknown';
CREATE INDEX send_request_id ON send (request_id) WHERE request_id IS NOT NULL;

-- The history of a contact, in the order of ids. Rows are never changed.
CREATE TABLE passage (
    id INTEGER PRIMARY KEY,
    contact INTEGER NOT NULL REFERENCES contact,
    at REAL NOT NULL,
    what TEXT NOT NULL,
    detail TEXT NOT NULL,
    token TEXT
);

CREATE INDEX passage_contact ON passage (contact);

-- The count of contacts of a campaign in each state.
CREATE TABLE tally (
    campaign INTEGER NOT NULL REFERENCES campaign,
    state TEXT NOT NULL,
    contacts INTEGER NOT NULL DEFAULT 0 CHECK (contacts >= 0),
    PRIMARY KEY (campaign, state)
) WITHOUT ROWID;

CREATE TRIGGER contact_added AFTER INSERT ON contact BEGIN
    UPDATE tally SET contacts = contacts + 1
    WHERE campaign = new.campaign AND state = new.state;
END;

CREATE TRIGGER contact_moved AFTER UPDATE OF state ON contact WHEN old.state <> new.state BEGIN
    UPDATE tally SET contacts = contacts - 1
    WHERE campaign = old.campaign AND state = old.state;
    UPDATE tally SET contacts = contacts + 1
    WHERE campaign = new.campaign AND state = new.state;
END;

-- The count of a campaign's sends that may have rung, for each quarter of an hour, so that a
-- daily limit does not count the day's sends. In every time zone days begin on a quarter.
CREATE TABLE quarter (
    campaign INTEGER NOT NULL REFERENCES campaign,
    quarter INTEGER NOT NULL,
    sends INTEGER NOT NULL,
    PRIMARY KEY (campaign, quarter)
) WITHOUT ROWID;

CREATE TRIGGER send_added AFTER INSERT ON send BEGIN
    UPDATE campaign SET sends = sends + 1 WHERE id = new.campaign;
    INSERT INTO quarter (campaign, quarter, sends)
    VALUES (new.campaign, CAST(new.at / 900 AS INTEGER), 1)
    ON CONFLICT DO UPDATE SET sends = sends + 1;
END;

CREATE TRIGGER send_judged AFTER UPDATE OF state ON send
WHEN (old.state = 'absent') <> (new.state = 'absent') BEGIN
    UPDATE quarter SET sends = sends + CASE new.state WHEN 'absent' THEN -1 ELSE 1 END
    WHERE campaign = new.campaign AND quarter = CAST(new.at / 900 AS INTEGER);
END;

CREATE TABLE do_not_call (
    number INTEGER PRIMARY KEY,
    source TEXT NOT NULL,
    at REAL NOT NULL
);

-- When the next start is due under each shared limit.
CREATE TABLE pace (
    key TEXT PRIMARY KEY,
    due REAL NOT NULL
) WITHOUT ROWID;

CREATE TABLE channel (
    key TEXT NOT NULL,
    holder TEXT NOT NULL,
    until REAL NOT NULL,
    PRIMARY KEY (key, holder)
) WITHOUT ROWID;
