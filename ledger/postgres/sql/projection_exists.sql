-- Whether the schema on the search path has its tables.
SELECT to_regclass('version') IS NOT NULL
