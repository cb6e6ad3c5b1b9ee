-- The intervals that start from ?2 to before ?3 and were decided anew by an event from position ?1 on: few of all that
-- start there, hence the index.
SELECT DISTINCT start FROM meter_intervals INDEXED BY meter_intervals_decided
WHERE decided_by >= ?1 AND start >= ?2 AND start < ?3
ORDER BY start
