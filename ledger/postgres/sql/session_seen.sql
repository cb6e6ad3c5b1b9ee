-- A session is in use. $1 digest, $2 now
UPDATE access.sessions SET seen_at = greatest(seen_at, $2) WHERE digest = $1
