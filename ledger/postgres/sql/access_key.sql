-- A key by its prefix. $1 prefix
SELECT prefix, digest, community, role, building, label, created_at, expires_at, revoked_at
FROM access.keys WHERE prefix = $1
