-- When the first and the newest interval start of which a building's energy is known; none where there is no energy.
-- $1 community
SELECT min(oldest.start) AS first, max(newest.start) AS newest
FROM meters m
CROSS JOIN LATERAL (
    SELECT start FROM meter_intervals
    WHERE community = m.community AND meter = m.meter ORDER BY start LIMIT 1
) oldest
CROSS JOIN LATERAL (
    SELECT start FROM meter_intervals
    WHERE community = m.community AND meter = m.meter ORDER BY start DESC LIMIT 1
) newest
WHERE m.community = $1 AND m.role = 'connection'
