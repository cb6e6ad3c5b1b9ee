-- A person may decide on what waits in quarantine, and looks at it and at the access log newest first.

ALTER TABLE book.quarantine
    ADD COLUMN resolution  text CHECK (resolution IN ('released', 'rejected')),  -- none: the writer itself recorded it
    ADD COLUMN resolved_by text;                                                 -- prefix of the key

CREATE INDEX quarantine_newest ON book.quarantine (community, last_at, digest, code);

CREATE INDEX requests_newest ON access.requests (at, id);
DROP INDEX access.requests_in_time;
