-- Rows of plain files, to be read in order of time whatever order they came in. Nothing here outlives the program.
-- Without an index, because sorting once costs the same for every order in which rows come.
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
CREATE TABLE energies (
    start    INTEGER NOT NULL,
    building TEXT    NOT NULL,
    line     INTEGER NOT NULL,
    shown    TEXT    NOT NULL,               -- the instant as it was written
    import   INTEGER NOT NULL,
    export   INTEGER NOT NULL,
    retail   INTEGER NOT NULL,
    feed_in  INTEGER NOT NULL
);
CREATE TABLE orders (
    start    INTEGER NOT NULL,
    building TEXT    NOT NULL,
    line     INTEGER NOT NULL,
    side     TEXT    NOT NULL,
    energy   INTEGER,                        -- NULL: all that was metered
    price    INTEGER NOT NULL,
    feeder   TEXT    NOT NULL
);
