-- The book: append-only facts, the log's tiles, the heads that fence the one appender, and quarantine.

-- Roles belong to the whole server: another database of it may have them, or be making them right now.
DO $$
BEGIN
    CREATE ROLE energy_ledger_app NOLOGIN;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL;
END
$$;

DO $$
BEGIN
    CREATE ROLE energy_ledger_projector NOLOGIN;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL;
END
$$;

CREATE SCHEMA book;

CREATE TABLE book.events (
    community   text   NOT NULL,
    position    bigint NOT NULL CHECK (position >= 0),      -- gapless, in commit order: the leaf's index
    stream      text   NOT NULL,
    sequence    bigint NOT NULL CHECK (sequence >= 1),      -- gapless in its stream
    body_hash   bytea  NOT NULL CHECK (length(body_hash) = 32),
    entry_hash  bytea  NOT NULL CHECK (length(entry_hash) = 32),
    body        bytea  NOT NULL,                            -- exactly the bytes that were signed
    envelope    bigint NOT NULL,                            -- position of the first event of its envelope
    PRIMARY KEY (community, position),
    UNIQUE (community, stream, sequence)
);

-- The registry is read whole when a writer starts; it is a small part of the book.
CREATE INDEX events_registry ON book.events (community, position)
    WHERE stream = 'registry' OR stream LIKE 'device/%';

CREATE TABLE book.envelopes (
    community   text        NOT NULL,
    position    bigint      NOT NULL,                       -- of its first new event
    device      text        NOT NULL,
    key         text        NOT NULL,
    signature   bytea       NOT NULL CHECK (length(signature) = 64),
    runs        bytea       NOT NULL,                       -- canonical JSON: first, last, previous, stream
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (community, position)
);

-- Full tiles only (C2SP tlog-tiles); partial ones are cut from events and from the roots of full tiles.
CREATE TABLE book.tiles (
    community   text     NOT NULL,
    level       smallint NOT NULL,
    index       bigint   NOT NULL,
    hashes      bytea    NOT NULL CHECK (length(hashes) = 8192),
    root        bytea    NOT NULL CHECK (length(root) = 32),
    PRIMARY KEY (community, level, index)
);

-- The fence: one row a community. An append succeeds only if `size` is still what its appender believes,
-- so allocation order is commit order, a rollback leaves no gap and remembered heads are never stale.
CREATE TABLE book.communities (
    community   text   PRIMARY KEY,
    size        bigint NOT NULL,
    peaks       bytea  NOT NULL,                            -- the tree's right edge
    root        bytea  NOT NULL CHECK (length(root) = 32),
    checkpoint  text   NOT NULL,                            -- the newest, signed
    recorded_at timestamptz NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE book.stream_heads (
    community   text   NOT NULL,
    stream      text   NOT NULL,
    sequence    bigint NOT NULL,
    hash        bytea  NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (community, stream)
) WITH (fillfactor = 70);

CREATE TABLE book.quarantine (
    community   text        NOT NULL,
    digest      bytea       NOT NULL,                       -- SHA-256 of the message
    code        text        NOT NULL,
    device      text        NOT NULL,                       -- who the subject says it is from
    stream      text,
    sequence    bigint,
    what        text        NOT NULL,
    message     bytea       NOT NULL,                       -- kept whole
    first_at    timestamptz NOT NULL,
    last_at     timestamptz NOT NULL,
    times       bigint      NOT NULL DEFAULT 1,
    resolved_at timestamptz,                                -- when a parked envelope was recorded after all
    PRIMARY KEY (community, digest, code)
);

CREATE INDEX quarantine_parked ON book.quarantine (community, stream)
    WHERE code = 'sequence-gap' AND resolved_at IS NULL;

CREATE FUNCTION book.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the book is append-only: % on % is refused', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'integrity_constraint_violation';
END
$$;

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON book.events
    FOR EACH STATEMENT EXECUTE FUNCTION book.refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON book.envelopes
    FOR EACH STATEMENT EXECUTE FUNCTION book.refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON book.tiles
    FOR EACH STATEMENT EXECUTE FUNCTION book.refuse_change();

GRANT USAGE ON SCHEMA book TO energy_ledger_app, energy_ledger_projector;
GRANT SELECT, INSERT ON book.events, book.envelopes, book.tiles TO energy_ledger_app;
GRANT SELECT, INSERT, UPDATE ON book.communities, book.stream_heads, book.quarantine TO energy_ledger_app;
GRANT SELECT ON ALL TABLES IN SCHEMA book TO energy_ledger_projector;
