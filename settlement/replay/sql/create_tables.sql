-- What a replay remembers of one book: its runs as told, and what the projector and the settler keep and ask for.
-- Instants are seconds since 1970, in UTC.

CREATE TABLE told (                 -- the runs and the documents as the book tells them
    sequence INTEGER PRIMARY KEY,   -- of the event in its stream
    is_run   INTEGER NOT NULL,
    line     INTEGER NOT NULL,
    position INTEGER NOT NULL,      -- of the envelope that brought it
    body     BLOB    NOT NULL
);

CREATE TABLE events (               -- all that is no reading
    position INTEGER PRIMARY KEY,
    stream   TEXT    NOT NULL,
    sequence INTEGER NOT NULL,
    body     BLOB    NOT NULL
);

CREATE TABLE meters (
    meter    TEXT    PRIMARY KEY,
    role     TEXT    NOT NULL,
    building TEXT,
    since    INTEGER NOT NULL,
    until    INTEGER
);

CREATE TABLE meter_states (
    meter TEXT PRIMARY KEY,
    state BLOB NOT NULL
);

-- In order of time, as most of them come and as they are settled.
CREATE TABLE meter_intervals (
    start              INTEGER NOT NULL,
    meter              TEXT    NOT NULL,
    import_wh          INTEGER NOT NULL,
    export_wh          INTEGER NOT NULL,
    import_register_wh INTEGER NOT NULL,
    export_register_wh INTEGER NOT NULL,
    end_quality        TEXT    NOT NULL,
    quality            TEXT    NOT NULL,
    epoch              INTEGER NOT NULL,
    position           INTEGER NOT NULL,
    decided_by         INTEGER NOT NULL,
    PRIMARY KEY (start, meter)
) WITHOUT ROWID;
CREATE INDEX meter_intervals_of ON meter_intervals (meter, start);
CREATE INDEX meter_intervals_decided ON meter_intervals (decided_by, start);

CREATE TABLE openings (             -- the first readings of register epochs; what else was put aside is not asked for
    meter     TEXT    NOT NULL,
    at        INTEGER NOT NULL,
    import_wh INTEGER NOT NULL,
    export_wh INTEGER NOT NULL,
    position  INTEGER NOT NULL,
    epoch     INTEGER NOT NULL,
    measured  INTEGER NOT NULL
);
CREATE INDEX openings_of ON openings (meter, at);

CREATE TABLE runs (                 -- as they are recomputed
    number    INTEGER PRIMARY KEY,
    kind      TEXT    NOT NULL,
    begin     INTEGER NOT NULL,
    until     INTEGER NOT NULL,
    tree_size INTEGER NOT NULL
);
CREATE INDEX runs_of_kind ON runs (kind, until);
CREATE INDEX runs_counting ON runs (tree_size);

CREATE TABLE standing (             -- the postings that count, as JSON
    what     TEXT    NOT NULL,      -- for an interval, or charges for a month
    start    INTEGER NOT NULL,
    postings BLOB    NOT NULL,
    PRIMARY KEY (start, what)
) WITHOUT ROWID;

CREATE TABLE sums (                 -- of all postings, as billing asks for them
    month          INTEGER NOT NULL,
    account        TEXT    NOT NULL,
    kind           TEXT    NOT NULL,
    took           INTEGER NOT NULL,
    energy_milliwh INTEGER NOT NULL,
    amount_micro   INTEGER NOT NULL,
    run            INTEGER NOT NULL,    -- the newest among them
    PRIMARY KEY (month, account, kind, took)
) WITHOUT ROWID;

CREATE TABLE documents (            -- the invoices that count, until they are cancelled
    number   TEXT PRIMARY KEY,
    building TEXT NOT NULL,
    month    TEXT NOT NULL,         -- its first day
    body     BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX documents_of ON documents (building);
CREATE INDEX documents_of_month ON documents (month);
