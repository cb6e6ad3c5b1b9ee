-- Postings, a row for each account of an interval instead of one for each posting. A month of a thousand buildings is
-- eight million postings, and finding them by account again cost more than all else that is done to settle it.

DROP VIEW settlement.journal;
ALTER TABLE settlement.postings RENAME TO single_postings;

CREATE TABLE settlement.posted (
    community        text        NOT NULL,
    start            timestamptz NOT NULL,
    run              bigint      NOT NULL,
    reversal         boolean     NOT NULL,
    account          text        NOT NULL,
    numbers          integer[]   NOT NULL,      -- of each posting within the interval and run
    kinds            text[]      NOT NULL,
    energies_milliwh bigint[]    NOT NULL,      -- received (+) or given (-)
    amounts_micro    bigint[]    NOT NULL,      -- likewise
    PRIMARY KEY (community, account, start, run, reversal),
    CHECK (
        cardinality(numbers) = cardinality(kinds) AND cardinality(kinds) = cardinality(energies_milliwh)
        AND cardinality(energies_milliwh) = cardinality(amounts_micro)
    )
);
CREATE INDEX posted_in_interval ON settlement.posted (community, start);

-- The grid's row has as many postings as there are buildings; packing it tighter is not worth the time.
ALTER TABLE settlement.posted
    ALTER numbers SET STORAGE EXTERNAL, ALTER kinds SET STORAGE EXTERNAL,
    ALTER energies_milliwh SET STORAGE EXTERNAL, ALTER amounts_micro SET STORAGE EXTERNAL;

INSERT INTO settlement.posted
SELECT
    community, start, run, reversal, account,
    array_agg(number ORDER BY number), array_agg(kind ORDER BY number),
    array_agg(energy_milliwh ORDER BY number), array_agg(amount_micro ORDER BY number)
FROM settlement.single_postings
GROUP BY community, start, run, reversal, account;

DROP TABLE settlement.single_postings;

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON settlement.posted
    FOR EACH STATEMENT EXECUTE FUNCTION book.refuse_change();

CREATE VIEW settlement.postings WITH (security_invoker = true) AS
SELECT p.community, p.start, p.run, p.reversal, one.number, one.kind, p.account, one.energy_milliwh, one.amount_micro
FROM settlement.posted p,
    unnest(p.numbers, p.kinds, p.energies_milliwh, p.amounts_micro) AS one (number, kind, energy_milliwh, amount_micro);

CREATE VIEW settlement.journal WITH (security_invoker = true) AS
SELECT community, start, run, reversal, number, kind, account, energy_milliwh, amount_micro FROM settlement.postings
UNION ALL
SELECT community, start, run, reversal, number, kind, account, energy_milliwh, amount_micro FROM settlement.charges;

GRANT SELECT, INSERT ON settlement.posted TO energy_ledger_app;
GRANT SELECT ON settlement.postings, settlement.journal TO energy_ledger_app;
