-- Held by every projecting transaction, so that a swap waits for it and it for a swap.
SELECT pg_advisory_xact_lock_shared(hashtext('energy-ledger projection'))
