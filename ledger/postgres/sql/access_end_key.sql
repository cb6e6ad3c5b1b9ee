-- A key counts no longer than to an instant, if it did so far. $1 community, $2 prefix, $3 instant
UPDATE access.keys SET expires_at = least(expires_at, $3), revoked_at = least(revoked_at, $3)
WHERE community = $1 AND prefix = $2
RETURNING prefix
