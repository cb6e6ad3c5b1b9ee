-- A step was taken. $1 number, $2 name, $3 checksum
INSERT INTO public.energy_ledger_migrations (number, name, checksum) VALUES ($1, $2, $3)
