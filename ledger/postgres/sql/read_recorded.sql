-- The entry hashes at given places. $1 community, $2 streams, $3 sequences
SELECT e.stream, e.sequence, e.entry_hash
FROM unnest($2::text[], $3::bigint[]) AS wanted (stream, sequence)
JOIN book.events e
    ON e.community = $1 AND e.stream = wanted.stream AND e.sequence = wanted.sequence
