-- A one-time token by its prefix. $1 prefix
SELECT prefix, digest, community, device, role, created_at, expires_at, used_at, public_key
FROM access.enrolments WHERE prefix = $1
