-- Runs and documents after a sequence and before a position, in their order, with when they were recorded. $1 community,
-- $2 sequence, $3 position, $4 most rows
SELECT e.sequence, e.position, e.body, n.recorded_at FROM book.events e
JOIN book.envelopes n ON n.community = e.community AND n.position = e.envelope
WHERE e.community = $1 AND e.stream = 'settlement' AND e.sequence > $2 AND e.position < $3
ORDER BY e.sequence LIMIT $4
