-- Energy per meter in [$3, $4); a bound that is null is open. $1 community, $2 meters
SELECT
    meter,
    sum(import_wh)::bigint AS import_wh,
    sum(export_wh)::bigint AS export_wh,
    count(*) AS intervals,
    count(*) FILTER (WHERE quality <> 'measured') AS not_measured
FROM meter_intervals
WHERE community = $1 AND meter = ANY($2::text[])
    AND ($3::timestamptz IS NULL OR start >= $3) AND ($4::timestamptz IS NULL OR start < $4)
GROUP BY meter
ORDER BY meter
