-- Checkpoints that witnesses have cosigned (C2SP tlog-witness), and their cosignatures. Facts, as the book's own.

CREATE TABLE book.witnessed (
    community   text   NOT NULL,
    size        bigint NOT NULL CHECK (size > 0),
    checkpoint  text   NOT NULL,                            -- the signed note, as the witness was sent it
    PRIMARY KEY (community, size)
);

CREATE TABLE book.cosignatures (
    community   text        NOT NULL,
    size        bigint      NOT NULL,
    witness     text        NOT NULL,                       -- its verifier key, which has its name in it
    line        text        NOT NULL,                       -- as it stands under the checkpoint, with its newline
    seconds     bigint      NOT NULL CHECK (seconds > 0),   -- since 1970: when it was made, by the witness's clock
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (community, size, witness),
    FOREIGN KEY (community, size) REFERENCES book.witnessed
);
CREATE INDEX cosignatures_of_witness ON book.cosignatures (community, witness, size);

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON book.witnessed
    FOR EACH STATEMENT EXECUTE FUNCTION book.refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON book.cosignatures
    FOR EACH STATEMENT EXECUTE FUNCTION book.refuse_change();

GRANT SELECT, INSERT ON book.witnessed, book.cosignatures TO energy_ledger_app;
GRANT SELECT ON book.witnessed, book.cosignatures TO energy_ledger_projector;
