-- A month's charges of the campus's one bill, posted by the run that closes the month. What a correction of the month
-- changes in them is reversed first, as with intervals.

CREATE TABLE settlement.charges (
    community      text        NOT NULL,
    start          timestamptz NOT NULL,        -- of the month, or of the market in its first one
    run            bigint      NOT NULL,
    reversal       boolean     NOT NULL,
    number         integer     NOT NULL,        -- within the month and run
    kind           text        NOT NULL,
    account        text        NOT NULL,
    energy_milliwh bigint      NOT NULL,        -- as a posting of an interval has it: none
    amount_micro   bigint      NOT NULL,        -- received (+) or given (-)
    PRIMARY KEY (community, start, run, reversal, number)
);
CREATE INDEX charges_of_account ON settlement.charges (community, account, start);

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON settlement.charges
    FOR EACH STATEMENT EXECUTE FUNCTION book.refuse_change();

-- All that was posted, whatever decided it. Who reads it needs the right to read what it is made of.
CREATE VIEW settlement.journal WITH (security_invoker = true) AS
SELECT community, start, run, reversal, number, kind, account, energy_milliwh, amount_micro FROM settlement.postings
UNION ALL
SELECT community, start, run, reversal, number, kind, account, energy_milliwh, amount_micro FROM settlement.charges;

GRANT SELECT, INSERT ON settlement.charges TO energy_ledger_app;
GRANT SELECT ON settlement.journal TO energy_ledger_app;
