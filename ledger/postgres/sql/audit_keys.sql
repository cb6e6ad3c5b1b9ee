-- The events up to a position that tell a device's public keys: the book's first, and those that name both.
-- $1 community, $2 position, $3 the device and $4 the public key's name, as both stand in a canonical body
SELECT position, body FROM book.events
WHERE community = $1 AND position <= $2 AND (stream = 'registry' OR stream LIKE 'device/%')
    AND (position = 0 OR (position($3::bytea IN body) > 0 AND position($4::bytea IN body) > 0))
ORDER BY position
