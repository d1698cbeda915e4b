-- What the other legs of calls cost, such as phones that were bridged to. A leg's record has its own
-- cost; that of the first leg is in `send`.
CREATE TABLE leg (
    send text NOT NULL,
    leg text NOT NULL,
    cost double precision NOT NULL,
    PRIMARY KEY (send, leg)
);

ALTER TABLE contact ADD COLUMN legs_cost double precision NOT NULL DEFAULT 0;

CREATE FUNCTION count_leg() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    more double precision := NEW.cost - CASE TG_OP WHEN 'UPDATE' THEN OLD.cost ELSE 0 END;
    s send;
BEGIN
    SELECT * INTO s FROM send t WHERE t.token = NEW.send;
    -- First the contact, as every move does.
    UPDATE contact k SET legs_cost = k.legs_cost + more WHERE k.id = s.contact;
    PERFORM add_to_tally(s.campaign, s.at, 0, 0, more);
    RETURN NULL;
END
$$;

CREATE TRIGGER leg_counted AFTER INSERT OR UPDATE OF cost ON leg FOR EACH ROW
EXECUTE FUNCTION count_leg();
