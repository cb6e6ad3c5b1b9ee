-- Held by whoever rebuilds, until the connection is closed; false where somebody else holds it.
SELECT pg_try_advisory_lock(hashtext('energy-ledger rebuild'))
