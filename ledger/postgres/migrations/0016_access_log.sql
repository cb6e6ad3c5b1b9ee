-- The access log is kept by months, each a partition that is made before its first request and dropped as a whole when
-- it is old enough; nothing of it can be changed or deleted otherwise. And an answer that is given again tells where
-- what it made is found.

ALTER TABLE access.answers ADD COLUMN location text;
GRANT UPDATE (location) ON access.answers TO energy_ledger_app;

ALTER TABLE access.requests RENAME TO requests_before_months;
ALTER INDEX access.requests_newest RENAME TO requests_before_months_newest;

CREATE TABLE access.requests (LIKE access.requests_before_months) PARTITION BY RANGE (at);
CREATE INDEX requests_newest ON access.requests (at, id);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON access.requests
    FOR EACH STATEMENT EXECUTE FUNCTION book.refuse_change();

REVOKE ALL ON access.requests_before_months FROM energy_ledger_app;
GRANT SELECT, INSERT ON access.requests TO energy_ledger_app;

-- What there is so far is one partition, up to the month after its newest request.
DO $$
DECLARE
    until timestamptz := date_trunc('month', greatest(now(), max(at)) AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'
        FROM access.requests_before_months;
BEGIN
    EXECUTE format(
        'ALTER TABLE access.requests ATTACH PARTITION access.requests_before_months FOR VALUES FROM (MINVALUE) TO (%L)',
        (until AT TIME ZONE 'UTC' + interval '1 month') AT TIME ZONE 'UTC'
    );
END
$$;

-- The partitions, and the span of each; the first has no beginning.
CREATE FUNCTION access.request_months() RETURNS TABLE (part regclass, begin timestamptz, until timestamptz)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
    SELECT c.oid::regclass,
        coalesce(substring(pg_get_expr(c.relpartbound, c.oid) FROM $r$FROM \('([^']+)'\)$r$)::timestamptz, '-infinity'),
        substring(pg_get_expr(c.relpartbound, c.oid) FROM $r$TO \('([^']+)'\)$r$)::timestamptz
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'access.requests'::regclass
$$;

CREATE FUNCTION access.make_month(at timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    first timestamptz := date_trunc('month', at);
    name text := 'requests_' || to_char(first, 'YYYY_MM');
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('access.requests'));  -- of two processes the second finds it made
    IF EXISTS (SELECT FROM access.request_months() m WHERE m.begin <= at AND at < m.until) THEN
        RETURN;
    END IF;
    EXECUTE format(
        'CREATE TABLE access.%I PARTITION OF access.requests FOR VALUES FROM (%L) TO (%L)',
        name, first, first + interval '1 month'
    );
    EXECUTE format(
        'CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON access.%I'
        ' FOR EACH STATEMENT EXECUTE FUNCTION book.refuse_change()', name
    );
END
$$;

-- Drops the months that ended before an instant; how many.
CREATE FUNCTION access.drop_months(before timestamptz) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    old regclass;
    dropped bigint := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('access.requests'));
    FOR old IN SELECT m.part FROM access.request_months() m WHERE m.until <= before LOOP
        EXECUTE format('DROP TABLE %s', old);
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
END
$$;

REVOKE EXECUTE ON FUNCTION access.make_month, access.drop_months FROM PUBLIC;
GRANT EXECUTE ON FUNCTION access.make_month, access.drop_months TO energy_ledger_app;
