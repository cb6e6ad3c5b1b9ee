-- Blocks whose hash stands on a chain, final by that chain's own rules. Facts, as the book's own: a block that is anchored
-- anew, on another chain or by another contract, is another fact.

CREATE TABLE book.anchors (
    community   text        NOT NULL,
    number      bigint      NOT NULL CHECK (number >= 0),                     -- of the block
    hash        bytea       NOT NULL CHECK (octet_length(hash) = 32),         -- of the block
    chain       bigint      NOT NULL CHECK (chain > 0),                       -- EIP-155's id of the chain
    contract    bytea       NOT NULL CHECK (octet_length(contract) = 20),
    transaction bytea       NOT NULL CHECK (octet_length(transaction) = 32),
    final_at    timestamptz NOT NULL,
    PRIMARY KEY (community, chain, contract, number)
);
CREATE INDEX anchors_newest ON book.anchors (community, final_at);

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON book.anchors
    FOR EACH STATEMENT EXECUTE FUNCTION book.refuse_change();

GRANT SELECT, INSERT ON book.anchors TO energy_ledger_app;
