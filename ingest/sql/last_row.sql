-- The newest row that a body ever had; no row before the first body.
SELECT seq FROM sqlite_sequence WHERE name = 'body'
