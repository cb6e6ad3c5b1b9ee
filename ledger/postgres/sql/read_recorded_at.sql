-- When the event at a position was recorded. $1 community, $2 position
SELECT v.recorded_at FROM book.events e
JOIN book.envelopes v ON v.community = e.community AND v.position = e.envelope
WHERE e.community = $1 AND e.position = $2
