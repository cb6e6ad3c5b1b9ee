-- What a building took and gave in the intervals that start in [$3, $4), $5 at the most, as columns in order of time:
-- starts in seconds since 1970, Wh, Wh, qualities. $1 community, $2 building
--
-- It tells what the view building_intervals tells, in half the time: the meters are looked up once.
WITH mine AS MATERIALIZED (
    SELECT meter, since, coalesce(until, 'infinity') AS until FROM meters
    WHERE community = $1 AND building = $2 AND role = 'connection'
), found AS (
    SELECT
        i.start,
        sum(i.import_wh)::bigint AS import_wh,
        sum(i.export_wh)::bigint AS export_wh,
        CASE
            WHEN count(*) < (SELECT count(*) FROM mine)
                AND count(*) < (SELECT count(*) FROM mine e WHERE e.since <= i.start AND e.until > i.start)
                THEN 'incomplete'
            WHEN bool_and(i.quality = 'measured') THEN 'measured'
            ELSE 'estimated'
        END AS quality
    FROM mine m
    JOIN meter_intervals i ON i.community = $1 AND i.meter = m.meter
    WHERE i.start >= $3 AND i.start < $4 AND i.start >= m.since AND i.start < m.until
    GROUP BY i.start
    ORDER BY i.start LIMIT $5
)
SELECT
    coalesce(array_agg(extract(epoch FROM start)::bigint ORDER BY start), '{}'),
    coalesce(array_agg(import_wh ORDER BY start), '{}'),
    coalesce(array_agg(export_wh ORDER BY start), '{}'),
    coalesce(array_agg(quality ORDER BY start), '{}')
FROM found
