-- The schema of the live projections.
CREATE SCHEMA IF NOT EXISTS projection
