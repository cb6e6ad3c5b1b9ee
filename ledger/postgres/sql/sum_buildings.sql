-- Energy per building in [$2, $3); a bound that is null is open. $1 community
SELECT
    building,
    sum(import_wh)::bigint AS import_wh,
    sum(export_wh)::bigint AS export_wh,
    count(*) AS intervals,
    count(*) FILTER (WHERE quality <> 'measured') AS not_measured
FROM building_intervals
WHERE community = $1 AND ($2::timestamptz IS NULL OR start >= $2) AND ($3::timestamptz IS NULL OR start < $3)
GROUP BY building
ORDER BY building
