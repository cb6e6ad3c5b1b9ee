-- The keys that have prefixes $1.
SELECT prefix, digest, community, role, building, label, created_at, expires_at, revoked_at
FROM access.keys WHERE prefix = ANY($1::text[])
