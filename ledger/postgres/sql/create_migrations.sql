-- Where the steps taken are recorded.
CREATE TABLE IF NOT EXISTS public.energy_ledger_migrations (
    number     integer     PRIMARY KEY,
    name       text        NOT NULL,
    checksum   text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
