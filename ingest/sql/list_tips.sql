-- The streams whose heads the ledger has told.
SELECT stream FROM tip
