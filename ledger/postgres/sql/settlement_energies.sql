-- What every building took and gave in the intervals that start in [$2, $3), in order of time. $1 community
SELECT start, building, import_wh, export_wh FROM building_intervals
WHERE community = $1 AND start >= $2 AND start < $3
ORDER BY start, building
