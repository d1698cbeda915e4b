-- How many of a contact's sends do not count as attempts: no network, "too many", or sent before
-- a person had it tried again.
ALTER TABLE contact ADD COLUMN excused INTEGER NOT NULL DEFAULT 0;
