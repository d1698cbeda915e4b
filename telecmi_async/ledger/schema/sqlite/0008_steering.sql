-- Campaigns that are changed while they run: revisions of their settings, contacts that were
-- withdrawn, who put a number on the do-not-call list, and who changed what.

ALTER TABLE campaign ADD COLUMN revision INTEGER NOT NULL DEFAULT 0;
-- The settings it was created with, once they were changed.
ALTER TABLE campaign ADD COLUMN original TEXT;

-- Why it must not be dialled any more, if it was withdrawn; its state may still change.
ALTER TABLE contact ADD COLUMN withdrawn TEXT;

-- The revision of the settings by which it was sent. A worker of an older version knows none, and
-- would go on by settings that were changed.
ALTER TABLE send ADD COLUMN revision INTEGER;

CREATE TRIGGER send_by_unknown_settings BEFORE INSERT ON send
WHEN new.revision IS NULL AND EXISTS (
    SELECT 1 FROM contact AS c JOIN campaign AS g ON g.id = c.campaign
    WHERE c.id = new.contact AND (g.revision > 0 OR c.withdrawn IS NOT NULL)
) BEGIN
    SELECT RAISE(ABORT, 'the settings were changed');
END;

ALTER TABLE do_not_call ADD COLUMN added_by TEXT NOT NULL DEFAULT '';

-- Numbers that were on the list. Rows are never changed.
CREATE TABLE do_not_call_removed (
    id INTEGER PRIMARY KEY,
    number INTEGER NOT NULL,
    source TEXT NOT NULL,
    at REAL NOT NULL,
    added_by TEXT NOT NULL,
    removed_at REAL NOT NULL,
    removed_by TEXT NOT NULL
);

-- What people changed, in the order of ids. A change of the do-not-call list has no campaign. What
-- takes several transactions has an operation's id, and is one row.
CREATE TABLE change (
    id INTEGER PRIMARY KEY,
    campaign INTEGER REFERENCES campaign,
    operation TEXT UNIQUE,
    at REAL NOT NULL,
    changed_by TEXT NOT NULL,
    what TEXT NOT NULL,
    detail TEXT NOT NULL DEFAULT '',
    count INTEGER
);

CREATE INDEX change_campaign ON change (campaign);
