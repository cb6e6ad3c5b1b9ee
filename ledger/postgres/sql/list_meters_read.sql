-- When each meter was read last, by the newest link of its chain: also before two readings have made an interval.
-- $1 community
SELECT m.meter, (convert_from(e.body, 'UTF8')::jsonb ->> 'measured_at')::timestamptz AS read_at
FROM meters m
JOIN book.stream_heads h ON h.community = m.community AND h.stream = 'meter/' || m.meter
JOIN book.events e ON e.community = h.community AND e.stream = h.stream AND e.sequence = h.sequence
WHERE m.community = $1
