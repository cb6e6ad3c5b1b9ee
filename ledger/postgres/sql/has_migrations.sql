-- Whether this database was ever migrated.
SELECT to_regclass('public.energy_ledger_migrations') IS NOT NULL
