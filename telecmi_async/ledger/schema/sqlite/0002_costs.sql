-- The count of sends whose cost is known: a sum of costs says for how many it is not.
ALTER TABLE campaign ADD COLUMN priced INTEGER NOT NULL DEFAULT 0;

UPDATE campaign SET priced = (
    SELECT count(s.cost) FROM send AS s WHERE s.campaign = campaign.id
);

CREATE TRIGGER send_priced AFTER UPDATE OF cost ON send
WHEN old.cost IS NULL AND new.cost IS NOT NULL BEGIN
    UPDATE campaign SET priced = priced + 1 WHERE id = new.campaign;
END;
