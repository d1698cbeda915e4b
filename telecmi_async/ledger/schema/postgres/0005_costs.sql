-- The count of sends whose cost is known: a sum of costs says for how many it is not.
ALTER TABLE tally ADD COLUMN priced bigint NOT NULL DEFAULT 0;

INSERT INTO tally AS t (campaign, quarter, shard, sends, may_ring, cost, priced)
SELECT s.campaign, floor(s.at / 900)::integer, 0, 0, 0, 0, count(*)
FROM send s WHERE s.cost IS NOT NULL GROUP BY 1, 2
ON CONFLICT (campaign, quarter, shard) DO UPDATE SET priced = excluded.priced;

CREATE FUNCTION count_priced() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO tally AS t (campaign, quarter, shard, sends, may_ring, cost, priced)
    VALUES (NEW.campaign, floor(NEW.at / 900), pg_backend_pid() % 64, 0, 0, 0, 1)
    ON CONFLICT (campaign, quarter, shard) DO UPDATE SET priced = t.priced + 1;
    RETURN NULL;
END
$$;

CREATE TRIGGER send_priced AFTER UPDATE OF cost ON send FOR EACH ROW
WHEN (OLD.cost IS NULL AND NEW.cost IS NOT NULL) EXECUTE FUNCTION count_priced();
