-- Held while the rebuilt projections take the old ones' place.
SELECT pg_advisory_xact_lock(hashtext('energy-ledger projection'))
