-- What a building took and gave in the intervals that start in [$3, $4), $5 at the most. $1 community, $2 building
SELECT start, import_wh, export_wh, quality FROM building_intervals
WHERE community = $1 AND building = $2 AND start >= $3 AND start < $4
ORDER BY start LIMIT $5
