-- What anybody could have sent, because no key that counts has signed it, is kept in quarantine within bounds: by age,
-- and by number and bytes of each sender's name and of all together. What had to go is counted.

CREATE TABLE book.quarantine_dropped (
    community text        NOT NULL,
    code      text        NOT NULL,
    messages  bigint      NOT NULL,
    bytes     bigint      NOT NULL,
    last_at   timestamptz NOT NULL,              -- when the newest of them went
    PRIMARY KEY (community, code)
);
GRANT SELECT ON book.quarantine_dropped TO energy_ledger_app, energy_ledger_projector;

CREATE INDEX quarantine_strange ON book.quarantine (community, last_at)
    WHERE code IN ('malformed', 'not-canonical', 'not-permitted', 'unknown-device', 'key-revoked', 'bad-signature');

-- Nobody else may delete from quarantine, and this lets nothing go that waits for its predecessors or is a fork.
CREATE FUNCTION book.bound_quarantine(
    of_community text, now timestamptz, oldest timestamptz, sender_messages bigint, sender_bytes bigint,
    all_messages bigint, all_bytes bigint
) RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH strange AS (
        SELECT digest, code, last_at, length(message) AS size,
            count(*) OVER sender AS of_sender, sum(length(message)) OVER sender AS bytes_of_sender,
            count(*) OVER everybody AS of_all, sum(length(message)) OVER everybody AS bytes_of_all
        FROM book.quarantine
        WHERE community = of_community AND code IN (
            'malformed', 'not-canonical', 'not-permitted', 'unknown-device', 'key-revoked', 'bad-signature'
        )
        WINDOW sender AS (PARTITION BY device ORDER BY last_at DESC, digest, code),
            everybody AS (ORDER BY last_at DESC, digest, code)
    ), dropped AS (
        DELETE FROM book.quarantine q USING strange s
        WHERE q.community = of_community AND q.digest = s.digest AND q.code = s.code AND (
            s.last_at < oldest OR s.of_sender > sender_messages OR s.bytes_of_sender > sender_bytes
            OR s.of_all > all_messages OR s.bytes_of_all > all_bytes
        )
        RETURNING s.code, s.size
    ), counted AS (
        INSERT INTO book.quarantine_dropped AS d (community, code, messages, bytes, last_at)
        SELECT of_community, code, count(*), sum(size), now FROM dropped GROUP BY code
        ON CONFLICT (community, code) DO UPDATE
        SET messages = d.messages + excluded.messages, bytes = d.bytes + excluded.bytes, last_at = excluded.last_at
    )
    SELECT count(*) FROM dropped
$$;
REVOKE EXECUTE ON FUNCTION book.bound_quarantine FROM PUBLIC;
GRANT EXECUTE ON FUNCTION book.bound_quarantine TO energy_ledger_app;
