-- Held to the end of the transaction: two programs that start together migrate one after the other.
SELECT pg_advisory_xact_lock(hashtext('energy-ledger migrations'))
