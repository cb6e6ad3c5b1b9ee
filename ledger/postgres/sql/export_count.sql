-- How many events these streams have: their newest sequences, which are gapless. $1 community, $2 position after the
-- last, $3 streams
SELECT coalesce(sum(newest.sequence), 0)::bigint AS events FROM unnest($3::text[]) AS s (stream)
CROSS JOIN LATERAL (
    SELECT sequence FROM book.events
    WHERE community = $1 AND stream = s.stream AND position < $2 ORDER BY sequence DESC LIMIT 1
) newest
