-- Projections live in schemas of their own, so that a rebuilt one can take the place of the old by its name.

DO $$
BEGIN
    EXECUTE format('GRANT CREATE ON DATABASE %I TO energy_ledger_projector', current_database());
END
$$;

SET ROLE energy_ledger_projector;
CREATE SCHEMA projection;
RESET ROLE;
