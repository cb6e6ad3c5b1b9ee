-- Wait until nobody else holds this name, and hold it to the end of the transaction. $1 name
SELECT pg_advisory_xact_lock(hashtextextended('energy-ledger turn ' || $1::text, 0))
