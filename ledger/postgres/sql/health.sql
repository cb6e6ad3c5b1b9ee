-- How far the parts of a community are. $1 community
SELECT
    coalesce((SELECT size FROM book.communities WHERE community = $1), 0) AS size,
    (SELECT recorded_at FROM book.communities WHERE community = $1) AS recorded_at,
    coalesce((SELECT position FROM positions WHERE community = $1), 0) AS projected,
    (SELECT count(*) FROM book.quarantine WHERE community = $1 AND resolved_at IS NULL) AS quarantine,
    (SELECT coalesce(sum(messages), 0)::bigint FROM book.quarantine_dropped WHERE community = $1) AS quarantine_dropped,
    (SELECT max(until) FROM settlement.runs WHERE community = $1 AND kind = 'provisional') AS settled_until,
    (
        SELECT max(newest.start) FROM meters m CROSS JOIN LATERAL (
            SELECT i.start FROM meter_intervals i
            WHERE i.community = m.community AND i.meter = m.meter ORDER BY i.start DESC LIMIT 1
        ) newest WHERE m.community = $1
    ) AS measured_at,
    (SELECT sealed_at FROM blocks WHERE community = $1 ORDER BY number DESC LIMIT 1) AS sealed_at,
    (SELECT max(final_at) FROM book.anchors WHERE community = $1) AS anchored_at
