-- How often a contact was redialled because its call was not answered.
ALTER TABLE contact ADD COLUMN redials INTEGER NOT NULL DEFAULT 0;

CREATE INDEX contact_missed ON contact (campaign, redials)
WHERE state = 'finished' AND answered = 0;
