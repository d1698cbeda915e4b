-- Calls with an idempotency key: at most one for each, even if the sending process
-- ends. States are those of ledger/idempotency.py; a lease that is over means 'unknown'.
CREATE TABLE keyed_call (
    key TEXT PRIMARY KEY,
    token TEXT NOT NULL UNIQUE,
    fingerprint TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('sending', 'placed', 'unknown', 'absent')),
    lease_until REAL NOT NULL,
    expires REAL NOT NULL,
    region TEXT NOT NULL,
    request_id TEXT,
    detail TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID;

CREATE INDEX keyed_call_expires ON keyed_call (expires);
