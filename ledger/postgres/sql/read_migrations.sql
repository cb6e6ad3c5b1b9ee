-- The steps taken, in order.
SELECT number, name, checksum FROM public.energy_ledger_migrations ORDER BY number
