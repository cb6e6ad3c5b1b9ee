-- The intervals that start in [$3, $4) and were decided anew by an event from position $2 on. $1 community
SELECT DISTINCT start FROM meter_intervals
WHERE community = $1 AND decided_by >= $2 AND start >= $3 AND start < $4
ORDER BY start
