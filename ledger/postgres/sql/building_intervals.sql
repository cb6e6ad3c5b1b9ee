-- What each connection meter of a building measured in the intervals that start in [$3, $4), $5 at the most, as columns
-- in order of time: since and until when it counts, starts (all in seconds since 1970), Wh, Wh, qualities.
-- $1 community, $2 building
SELECT extract(epoch FROM m.since)::bigint, extract(epoch FROM m.until)::bigint, columns.*
FROM meters m
CROSS JOIN LATERAL (
    SELECT
        coalesce(array_agg(date_part('epoch', start)::bigint ORDER BY start), '{}'),
        coalesce(array_agg(import_wh ORDER BY start), '{}'),
        coalesce(array_agg(export_wh ORDER BY start), '{}'),
        coalesce(array_agg(quality ORDER BY start), '{}')
    FROM (
        SELECT i.start, i.import_wh, i.export_wh, i.quality
        FROM meter_intervals i
        WHERE i.community = $1 AND i.meter = m.meter
            AND i.start >= greatest($3, m.since) AND i.start < least($4, m.until)
        ORDER BY i.start LIMIT $5
    ) found
) columns
WHERE m.community = $1 AND m.building = $2 AND m.role = 'connection'
