-- Projections live in schemas of their own, so that a rebuilt one can take the place of the old by its name.
-- Their tables are made by the projector (sql/projection_schema.sql), not here: they are derived and may be
-- dropped and rebuilt at any time.

DO $$
BEGIN
    EXECUTE format('GRANT CREATE ON DATABASE %I TO energy_ledger_projector', current_database());
END
$$;

ALTER DEFAULT PRIVILEGES FOR ROLE energy_ledger_projector GRANT USAGE ON SCHEMAS TO energy_ledger_app;
ALTER DEFAULT PRIVILEGES FOR ROLE energy_ledger_projector GRANT SELECT ON TABLES TO energy_ledger_app;
