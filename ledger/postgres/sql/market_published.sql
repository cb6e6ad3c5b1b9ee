-- What was published of the market, in the order of that: all of it, or the one event of a sequence.
-- $1 community, $2 sequence, 0 for all
SELECT position, sequence, body_hash, entry_hash, envelope, body
FROM book.events
WHERE community = $1 AND stream = 'market' AND ($2::bigint = 0 OR sequence = $2)
ORDER BY sequence
