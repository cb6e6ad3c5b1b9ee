-- Postings, a row for up to six hours of an account instead of one for each interval. A month of a thousand buildings is
-- three million intervals of accounts; taking in so many rows and their index entries cost the store more than all else.

DROP VIEW settlement.journal;
DROP VIEW settlement.postings;
ALTER TABLE settlement.posted RENAME TO posted_by_interval;

CREATE TABLE settlement.posted (
    community        text          NOT NULL,
    account          text          NOT NULL,
    run              bigint        NOT NULL,
    reversal         boolean       NOT NULL,
    first            timestamptz   NOT NULL,    -- start of the first interval within
    last             timestamptz   NOT NULL,    -- start of the last one
    starts           timestamptz[] NOT NULL,    -- of each posting's interval, in order of time
    numbers          integer[]     NOT NULL,    -- of each posting within its interval and run
    kinds            text[]        NOT NULL,
    energies_milliwh bigint[]      NOT NULL,    -- received (+) or given (-)
    amounts_micro    bigint[]      NOT NULL,    -- likewise
    CHECK (
        cardinality(starts) = cardinality(numbers) AND cardinality(numbers) = cardinality(kinds)
        AND cardinality(kinds) = cardinality(energies_milliwh)
        AND cardinality(energies_milliwh) = cardinality(amounts_micro)
    ),
    CHECK (first = starts[1] AND last = starts[cardinality(starts)]),
    -- So what starts at some instant is in a row whose first interval starts less than six hours before.
    CHECK (last >= first AND last - first < interval '6 hours')
) WITH (toast_tuple_target = 8160);

-- A building's row of a few KB stays whole in its page. The grid's of one interval is moved out; packing it tighter is not
-- worth the time.
ALTER TABLE settlement.posted
    ALTER starts SET STORAGE EXTERNAL, ALTER numbers SET STORAGE EXTERNAL, ALTER kinds SET STORAGE EXTERNAL,
    ALTER energies_milliwh SET STORAGE EXTERNAL, ALTER amounts_micro SET STORAGE EXTERNAL;

INSERT INTO settlement.posted
SELECT
    community, account, run, reversal, start, start, array_fill(start, ARRAY[cardinality(numbers)]),
    numbers, kinds, energies_milliwh, amounts_micro
FROM settlement.posted_by_interval;

DROP TABLE settlement.posted_by_interval;

ALTER TABLE settlement.posted ADD PRIMARY KEY (community, account, first, run, reversal);
CREATE INDEX posted_by_run ON settlement.posted (community, run, first, account);

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON settlement.posted
    FOR EACH STATEMENT EXECUTE FUNCTION book.refuse_change();

ALTER TABLE settlement.posted ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON settlement.posted FOR SELECT TO energy_ledger_building USING (
    community = current_setting('ledger.community', true)
    AND account = 'building/' || current_setting('ledger.building', true)
);

-- `first` is what the indices know of a posting's time.
CREATE VIEW settlement.postings WITH (security_invoker = true) AS
SELECT
    p.community, one.start, p.run, p.reversal, one.number, one.kind, p.account, one.energy_milliwh, one.amount_micro,
    p.first
FROM settlement.posted p,
    unnest(p.starts, p.numbers, p.kinds, p.energies_milliwh, p.amounts_micro)
    AS one (start, number, kind, energy_milliwh, amount_micro);

CREATE VIEW settlement.journal WITH (security_invoker = true) AS
SELECT community, start, run, reversal, number, kind, account, energy_milliwh, amount_micro, first FROM settlement.postings
UNION ALL
SELECT community, start, run, reversal, number, kind, account, energy_milliwh, amount_micro, start
FROM settlement.charges;

GRANT SELECT, INSERT ON settlement.posted TO energy_ledger_app;
GRANT SELECT ON settlement.postings, settlement.journal TO energy_ledger_app;
GRANT SELECT ON settlement.posted, settlement.postings, settlement.journal TO energy_ledger_building;
