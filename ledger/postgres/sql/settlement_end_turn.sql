-- Let the next program append to a community's settlement stream. $1 community
SELECT pg_advisory_unlock(hashtextextended('energy-ledger settlement stream ' || $1::text, 0))
