-- What was settled: for each run the postings, trades and shares of its intervals. Append-only like the book, out of
-- which all of it follows; a revised interval is reversed by postings of the opposite sign, never changed.

CREATE SCHEMA settlement;

CREATE TABLE settlement.runs (
    community text        NOT NULL,
    number    bigint      NOT NULL CHECK (number >= 1),
    kind      text        NOT NULL,             -- provisional, final or revised
    begin     timestamptz NOT NULL,
    until     timestamptz NOT NULL,
    tree_size bigint      NOT NULL,             -- of the log whose readings it counts
    root      bytea       NOT NULL,
    rules     bytea       NOT NULL,             -- digest of the rules and tariffs in force
    result    bytea       NOT NULL,             -- digest of all postings
    settled   bigint      NOT NULL,
    revised   bigint      NOT NULL,
    PRIMARY KEY (community, number)
);

-- Which runs settled an interval; the newest counts.
CREATE TABLE settlement.intervals (
    community text        NOT NULL,
    start     timestamptz NOT NULL,
    run       bigint      NOT NULL,
    PRIMARY KEY (community, start, run)
);

CREATE TABLE settlement.postings (
    community      text        NOT NULL,
    start          timestamptz NOT NULL,
    run            bigint      NOT NULL,
    reversal       boolean     NOT NULL,
    number         integer     NOT NULL,        -- within the interval and run
    kind           text        NOT NULL,
    account        text        NOT NULL,
    energy_milliwh bigint      NOT NULL,        -- received (+) or given (-)
    amount_micro   bigint      NOT NULL,        -- likewise
    PRIMARY KEY (community, start, run, reversal, number)
);
CREATE INDEX postings_of_account ON settlement.postings (community, account, start);

CREATE TABLE settlement.trades (
    community           text        NOT NULL,
    start               timestamptz NOT NULL,
    run                 bigint      NOT NULL,
    number              integer     NOT NULL,
    seller              text        NOT NULL,
    buyer               text        NOT NULL,
    energy_milliwh      bigint      NOT NULL,
    price_micro_per_kwh bigint      NOT NULL,
    amount_micro        bigint      NOT NULL,
    wheeling_micro      bigint      NOT NULL,
    loss_milliwh        bigint      NOT NULL,
    loss_micro          bigint      NOT NULL,
    operator_micro      bigint      NOT NULL,
    PRIMARY KEY (community, start, run, number)
);

CREATE TABLE settlement.shares (
    community        text        NOT NULL,
    start            timestamptz NOT NULL,
    run              bigint      NOT NULL,
    building         text        NOT NULL,
    share_milliwh    bigint      NOT NULL,
    used_milliwh     bigint      NOT NULL,
    residual_milliwh bigint      NOT NULL,
    PRIMARY KEY (community, start, run, building)
);

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['runs', 'intervals', 'postings', 'trades', 'shares'] LOOP
        EXECUTE format(
            'CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON settlement.%I'
            ' FOR EACH STATEMENT EXECUTE FUNCTION book.refuse_change()', name
        );
    END LOOP;
END
$$;

GRANT USAGE ON SCHEMA settlement TO energy_ledger_app;
GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA settlement TO energy_ledger_app;
