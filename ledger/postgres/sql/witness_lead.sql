-- Be the only process that asks a community's witnesses, as long as this connection lasts; false where another one is.
-- $1 community
SELECT pg_try_advisory_lock(hashtextextended('energy-ledger witnesses ' || $1::text, 0))
