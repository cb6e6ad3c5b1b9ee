-- Who may use the API: keys as digests, what was answered to a request that may be sent again, and who asked for what.

CREATE SCHEMA access;

CREATE TABLE access.keys (
    prefix     text        PRIMARY KEY,          -- by which a key is found; no secret
    digest     bytea       NOT NULL CHECK (length(digest) = 32),   -- SHA-256 of the secret, which is 256 random bits
    community  text        NOT NULL,
    role       text        NOT NULL CHECK (role IN ('building', 'auditor', 'billing', 'operator')),
    building   text        CHECK ((role = 'building') = (building IS NOT NULL)),
    label      text        NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz
);

CREATE TABLE access.answers (
    prefix     text        NOT NULL,             -- whose key
    name       text        NOT NULL,             -- the Idempotency-Key
    request    bytea       NOT NULL CHECK (length(request) = 32),  -- SHA-256 of method, path and body
    begun_at   timestamptz NOT NULL,
    status     integer,                          -- none while it is being answered
    media_type text,
    body       bytea,
    PRIMARY KEY (prefix, name)
);

CREATE TABLE access.requests (
    at      timestamptz NOT NULL,
    id      text        NOT NULL,
    prefix  text,                                -- none where nobody was known
    role    text,
    method  text        NOT NULL,
    path    text        NOT NULL,                -- without its query
    status  integer     NOT NULL,
    micros  bigint      NOT NULL                 -- microseconds it took
);
CREATE INDEX requests_in_time ON access.requests USING brin (at);

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON access.requests
    FOR EACH STATEMENT EXECUTE FUNCTION book.refuse_change();

GRANT SELECT ON energy_ledger_migrations TO energy_ledger_app;   -- whether it is up to date
GRANT USAGE ON SCHEMA access TO energy_ledger_app;
GRANT SELECT, INSERT ON access.keys, access.requests TO energy_ledger_app;
GRANT UPDATE (revoked_at, expires_at) ON access.keys TO energy_ledger_app;
GRANT SELECT, INSERT, DELETE ON access.answers TO energy_ledger_app;
GRANT UPDATE (status, media_type, body) ON access.answers TO energy_ledger_app;
