-- Loads contacts from a request of `load_request`, also within a transaction of another program:
-- whatever its session's search_path is, this function finds its own schema. Later versions must
-- take requests of this format, since programs of this version go on sending them.
CREATE FUNCTION load_contacts(p_request text, OUT added integer, OUT known integer)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    request json := p_request;
    the_campaign integer;
BEGIN
    IF request ->> 'format' IS DISTINCT FROM '1' THEN
        RAISE EXCEPTION 'the ledger was written by an older version of telecmi-async than the '
            'one that loads contacts' USING ERRCODE = 'invalid_parameter_value',
            HINT = 'Run `telecmi-async migrate` of the newer version.';
    END IF;
    SELECT c.id INTO the_campaign FROM campaign c WHERE c.name = request ->> 'campaign';
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no campaign named % in this ledger',
            quote_literal(request ->> 'campaign') USING ERRCODE = 'invalid_parameter_value',
            HINT = 'A campaign is created by Campaign.load, or by `telecmi-async add` or `dial`.';
    END IF;
    INSERT INTO contact (campaign, number, columns, not_before, not_after)
    SELECT the_campaign, (r.c ->> 0)::bigint, (r.c ->> 1)::json, (r.c ->> 2)::double precision,
        (r.c ->> 3)::double precision
    FROM json_array_elements(request -> 'contacts') WITH ORDINALITY AS r (c, n) ORDER BY r.n
    ON CONFLICT (campaign, number) DO NOTHING;
    GET DIAGNOSTICS added = ROW_COUNT;
    known := json_array_length(request -> 'contacts') - added;
    PERFORM note_change(the_campaign, request ->> 'operation', request ->> 'by', 'load', '',
        added);
END
$$;
