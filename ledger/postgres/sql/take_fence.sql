-- Move a community's fence from the size its appender believes in ($2) to the new one. No row: it was moved
-- by somebody else, and everything the appender remembers must be read again.
-- $1 community, $2 old size, $3 new size, $4 peaks, $5 root, $6 checkpoint, $7 recorded_at
UPDATE book.communities
SET size = $3, peaks = $4, root = $5, checkpoint = $6, recorded_at = $7
WHERE community = $1 AND size = $2
RETURNING size
