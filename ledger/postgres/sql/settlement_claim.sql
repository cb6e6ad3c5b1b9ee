-- Held by the one settler of a community until its connection is closed; false where another one holds it. $1 community
SELECT pg_try_advisory_lock(hashtextextended('energy-ledger settler ' || $1::text, 0))
