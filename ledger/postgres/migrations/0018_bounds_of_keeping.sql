-- What is let go is bounded: so many messages of strangers in a call, so that a flood is cleared away while others are
-- served; and of the access log no month that is not over, whatever instant is named.

DROP FUNCTION book.bound_quarantine;

-- How many went; there may be more where it is `at_most`. Nobody else may delete from quarantine, and this lets nothing
-- go that waits for its predecessors or is a fork.
CREATE FUNCTION book.bound_quarantine(
    of_community text, now timestamptz, oldest timestamptz, sender_messages bigint, sender_bytes bigint,
    all_messages bigint, all_bytes bigint, at_most bigint
) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    beyond bigint := count(*) - all_messages FROM book.quarantine WHERE community = of_community AND code IN (
        'malformed', 'not-canonical', 'not-permitted', 'unknown-device', 'key-revoked', 'bad-signature'
    );
    gone bigint;
BEGIN
    -- Where more are beyond the number of all than may go, the oldest go, which an index gives, however many there are;
    -- all are put in order only where they are few.
    WITH beyond_all AS MATERIALIZED (
        SELECT digest, code FROM book.quarantine
        WHERE beyond >= at_most AND community = of_community AND code IN (
            'malformed', 'not-canonical', 'not-permitted', 'unknown-device', 'key-revoked', 'bad-signature'
        )
        ORDER BY last_at, digest DESC, code DESC LIMIT at_most
    ), strange AS (
        SELECT digest, code, last_at,
            count(*) OVER sender AS of_sender, sum(length(message)) OVER sender AS bytes_of_sender,
            count(*) OVER everybody AS of_all, sum(length(message)) OVER everybody AS bytes_of_all
        FROM book.quarantine
        WHERE beyond < at_most AND community = of_community AND code IN (
            'malformed', 'not-canonical', 'not-permitted', 'unknown-device', 'key-revoked', 'bad-signature'
        )
        WINDOW sender AS (PARTITION BY device ORDER BY last_at DESC, digest, code),
            everybody AS (ORDER BY last_at DESC, digest, code)
    ), chosen AS MATERIALIZED (
        SELECT digest, code FROM beyond_all
        UNION ALL
        (
            SELECT digest, code FROM strange
            WHERE last_at < oldest OR of_sender > sender_messages OR bytes_of_sender > sender_bytes
                OR of_all > all_messages OR bytes_of_all > all_bytes
            ORDER BY last_at, digest DESC, code DESC LIMIT at_most
        )
    ), dropped AS (
        DELETE FROM book.quarantine q USING chosen c
        WHERE q.community = of_community AND q.digest = c.digest AND q.code = c.code
        RETURNING q.code, length(q.message) AS size
    ), counted AS (
        INSERT INTO book.quarantine_dropped AS d (community, code, messages, bytes, last_at)
        SELECT of_community, code, count(*), sum(size), now FROM dropped GROUP BY code
        ON CONFLICT (community, code) DO UPDATE
        SET messages = d.messages + excluded.messages, bytes = d.bytes + excluded.bytes, last_at = excluded.last_at
    )
    SELECT count(*) INTO gone FROM dropped;
    RETURN gone;
END
$$;
REVOKE EXECUTE ON FUNCTION book.bound_quarantine FROM PUBLIC;
GRANT EXECUTE ON FUNCTION book.bound_quarantine TO energy_ledger_app;

-- Drops the months that ended before an instant, and none that is not over; how many.
CREATE OR REPLACE FUNCTION access.drop_months(before timestamptz) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    old regclass;
    dropped bigint := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('access.requests'));
    FOR old IN SELECT m.part FROM access.request_months() m
        WHERE m.until <= least(before, date_trunc('month', now())) LOOP
        EXECUTE format('DROP TABLE %s', old);
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
END
$$;
