-- Held by the one program that appends to a community's settlement stream, until it gives it back or its connection
-- ends; false where another one holds it. $1 community
SELECT pg_try_advisory_lock(hashtextextended('energy-ledger settlement stream ' || $1::text, 0))
