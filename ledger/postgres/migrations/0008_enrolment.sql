-- One-time tokens by which devices enrol themselves: the operator gives them out, the first key that comes uses one up.

CREATE TABLE access.enrolments (
    prefix     text        PRIMARY KEY,          -- by which a token is found; no secret
    digest     bytea       NOT NULL CHECK (length(digest) = 32),   -- SHA-256 of the secret, which is 256 random bits
    community  text        NOT NULL,
    device     text        NOT NULL,
    role       text        NOT NULL CHECK (role IN ('gateway', 'meter', 'building')),
    size       bigint      NOT NULL,             -- of the log when it was made: what it enrolled stands behind that
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,             -- moved to the present where a token is withdrawn
    used_at    timestamptz,
    public_key text,                             -- the key that it enrolled
    CHECK ((used_at IS NULL) = (public_key IS NULL))
);
CREATE INDEX enrolments_open ON access.enrolments (community, device) WHERE used_at IS NULL;

GRANT SELECT, INSERT ON access.enrolments TO energy_ledger_app;
GRANT UPDATE (expires_at, used_at, public_key) ON access.enrolments TO energy_ledger_app;
