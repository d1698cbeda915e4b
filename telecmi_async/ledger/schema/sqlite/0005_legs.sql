-- What the other legs of calls cost, such as phones that were bridged to. A leg's record has its own
-- cost; that of the first leg is in `send`.
CREATE TABLE leg (
    send TEXT NOT NULL REFERENCES send (token),
    leg TEXT NOT NULL,
    cost REAL NOT NULL,
    PRIMARY KEY (send, leg)
) WITHOUT ROWID;

ALTER TABLE contact ADD COLUMN legs_cost REAL NOT NULL DEFAULT 0;

CREATE TRIGGER leg_added AFTER INSERT ON leg BEGIN
    UPDATE campaign SET cost = cost + new.cost
    WHERE id = (SELECT campaign FROM send WHERE token = new.send);
    UPDATE contact SET legs_cost = legs_cost + new.cost
    WHERE id = (SELECT contact FROM send WHERE token = new.send);
END;

CREATE TRIGGER leg_corrected AFTER UPDATE OF cost ON leg BEGIN
    UPDATE campaign SET cost = cost + new.cost - old.cost
    WHERE id = (SELECT campaign FROM send WHERE token = new.send);
    UPDATE contact SET legs_cost = legs_cost + new.cost - old.cost
    WHERE id = (SELECT contact FROM send WHERE token = new.send);
END;
