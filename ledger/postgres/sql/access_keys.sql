-- All keys of a community, the oldest first. $1 community
SELECT prefix, digest, community, role, building, label, created_at, expires_at, revoked_at
FROM access.keys WHERE community = $1 ORDER BY created_at, prefix
