-- How many calls have a record that says whether they were answered, how many were, and how long
-- they talked.
ALTER TABLE tally ADD COLUMN ended bigint NOT NULL DEFAULT 0,
    ADD COLUMN answered bigint NOT NULL DEFAULT 0,
    ADD COLUMN talk_seconds bigint NOT NULL DEFAULT 0;

INSERT INTO tally AS t (campaign, quarter, shard, sends, may_ring, cost, ended, answered,
    talk_seconds)
SELECT s.campaign, floor(s.at / 900)::integer, 0, 0, 0, 0, count(s.answered),
    count(*) FILTER (WHERE s.answered), coalesce(sum(s.talk_seconds), 0)
FROM send s WHERE s.over GROUP BY 1, 2
ON CONFLICT (campaign, quarter, shard) DO UPDATE SET ended = excluded.ended,
    answered = excluded.answered, talk_seconds = excluded.talk_seconds;

CREATE FUNCTION count_end() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO tally AS t (campaign, quarter, shard, sends, may_ring, cost, ended, answered,
        talk_seconds)
    VALUES (NEW.campaign, floor(NEW.at / 900), pg_backend_pid() % 64, 0, 0, 0,
        (NEW.over AND NEW.answered IS NOT NULL)::integer
            - (OLD.over AND OLD.answered IS NOT NULL)::integer,
        (NEW.over AND COALESCE(NEW.answered, false))::integer
            - (OLD.over AND COALESCE(OLD.answered, false))::integer,
        CASE WHEN NEW.over THEN COALESCE(NEW.talk_seconds, 0) ELSE 0 END
            - CASE WHEN OLD.over THEN COALESCE(OLD.talk_seconds, 0) ELSE 0 END)
    ON CONFLICT (campaign, quarter, shard) DO UPDATE SET
        ended = t.ended + excluded.ended, answered = t.answered + excluded.answered,
        talk_seconds = t.talk_seconds + excluded.talk_seconds;
    RETURN NULL;
END
$$;

CREATE TRIGGER send_ended AFTER UPDATE OF answered ON send FOR EACH ROW
WHEN (
    NEW.over AND (
        NOT OLD.over OR NEW.answered IS DISTINCT FROM OLD.answered
        OR NEW.talk_seconds IS DISTINCT FROM OLD.talk_seconds
    )
) EXECUTE FUNCTION count_end();
