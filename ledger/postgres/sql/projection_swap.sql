-- The rebuilt projections take the place of the old ones.
ALTER SCHEMA projection RENAME TO projection_old;
ALTER SCHEMA projection_next RENAME TO projection;
DROP SCHEMA projection_old CASCADE;
