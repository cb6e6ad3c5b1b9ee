-- Envelopes that waited for missing events of some streams, oldest sequences first: of those streams where the
-- first that waits can go on by now. $1 community, $2 streams
SELECT q.digest, q.device, q.message FROM book.quarantine q
JOIN book.stream_heads h ON h.community = q.community AND h.stream = q.stream
WHERE q.community = $1 AND q.stream = ANY($2::text[]) AND q.code = 'sequence-gap' AND q.resolved_at IS NULL
    AND h.sequence + 1 >= (
        SELECT min(first.sequence) FROM book.quarantine first
        WHERE first.community = q.community AND first.stream = q.stream
            AND first.code = 'sequence-gap' AND first.resolved_at IS NULL
    )
ORDER BY q.stream, q.sequence
