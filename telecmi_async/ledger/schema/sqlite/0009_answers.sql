-- How many calls have a record that says whether they were answered, how many were, and how long
-- they talked.
ALTER TABLE campaign ADD COLUMN ended INTEGER NOT NULL DEFAULT 0;
ALTER TABLE campaign ADD COLUMN answered INTEGER NOT NULL DEFAULT 0;
ALTER TABLE campaign ADD COLUMN talk_seconds INTEGER NOT NULL DEFAULT 0;

UPDATE campaign SET (ended, answered, talk_seconds) = (
    SELECT count(s.answered), coalesce(sum(s.answered), 0), coalesce(sum(s.talk_seconds), 0)
    FROM send AS s WHERE s.campaign = campaign.id AND s.state = 'finished'
);

CREATE TRIGGER send_ended AFTER UPDATE OF answered ON send
WHEN new.state = 'finished' AND (
    old.state <> 'finished' OR new.answered IS NOT old.answered
    OR new.talk_seconds IS NOT old.talk_seconds
) BEGIN
    UPDATE campaign SET
        ended = ended + (new.answered IS NOT NULL)
            - (old.state = 'finished' AND old.answered IS NOT NULL),
        answered = answered + coalesce(new.answered, 0)
            - (old.state = 'finished') * coalesce(old.answered, 0),
        talk_seconds = talk_seconds + coalesce(new.talk_seconds, 0)
            - (old.state = 'finished') * coalesce(old.talk_seconds, 0)
    WHERE id = new.campaign;
END;
