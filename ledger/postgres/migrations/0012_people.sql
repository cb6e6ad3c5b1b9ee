-- People who log in with a password, and their sessions as digests. Who has ended stays, for the access log's sake.

CREATE TABLE access.people (
    id          text        PRIMARY KEY,          -- what the access log keeps
    community   text        NOT NULL,
    name        text        NOT NULL,             -- a login or an e-mail address
    role        text        NOT NULL CHECK (role IN ('building', 'auditor', 'billing', 'operator')),
    building    text        CHECK ((role = 'building') = (building IS NOT NULL)),
    password    text        NOT NULL CHECK (password LIKE '$argon2id$%'),
    password_at timestamptz NOT NULL,             -- when it was chosen; hashing it anew does not change that
    created_at  timestamptz NOT NULL,
    ended_at    timestamptz
);
CREATE UNIQUE INDEX people_by_name ON access.people (community, name) WHERE ended_at IS NULL;

CREATE TABLE access.sessions (
    digest   bytea       PRIMARY KEY CHECK (length(digest) = 32),   -- SHA-256 of the token, which is 256 random bits
    person   text        NOT NULL REFERENCES access.people,
    role     text        NOT NULL,                -- when it began: with another one it opens nothing
    building text,
    begun_at timestamptz NOT NULL,
    seen_at  timestamptz NOT NULL
);
CREATE INDEX sessions_of_person ON access.sessions (person);
CREATE INDEX sessions_in_time ON access.sessions (seen_at);

GRANT SELECT, INSERT ON access.people TO energy_ledger_app;
GRANT UPDATE (password, password_at, ended_at) ON access.people TO energy_ledger_app;
GRANT SELECT, INSERT, DELETE ON access.sessions TO energy_ledger_app;
GRANT UPDATE (seen_at) ON access.sessions TO energy_ledger_app;
