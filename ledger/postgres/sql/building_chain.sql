-- The links of a stream behind sequence $3, up to $4, $5 at the most, each with the hash of the one before it.
-- $1 community, $2 stream
SELECT e.sequence, e.position, p.entry_hash AS previous, e.body_hash, e.entry_hash, e.body
FROM book.events e
LEFT JOIN book.events p ON p.community = e.community AND p.stream = e.stream AND p.sequence = e.sequence - 1
WHERE e.community = $1 AND e.stream = $2 AND e.sequence > $3 AND e.sequence <= $4
ORDER BY e.sequence LIMIT $5
