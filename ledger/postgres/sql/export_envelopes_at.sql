-- Some envelopes. $1 community, $2 positions
SELECT position, device, key, signature, runs FROM book.envelopes
WHERE community = $1 AND position = ANY($2::bigint[])
