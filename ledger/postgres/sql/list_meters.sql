-- Meters, who reads them now and the newest interval of each. $1 community
SELECT
    m.meter, m.role, m.building, m.model, m.rated_w, m.since, m.until,
    (SELECT r.device FROM meter_readers r
     WHERE r.community = m.community AND r.meter = m.meter ORDER BY r.since DESC LIMIT 1) AS reader,
    (SELECT i.start FROM meter_intervals i
     WHERE i.community = m.community AND i.meter = m.meter ORDER BY i.start DESC LIMIT 1) AS newest
FROM meters m
WHERE m.community = $1
ORDER BY m.meter
