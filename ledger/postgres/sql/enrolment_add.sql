-- A one-time token. $1 prefix, $2 digest, $3 community, $4 device, $5 role, $6 created at, $7 expires at
INSERT INTO access.enrolments (prefix, digest, community, device, role, size, created_at, expires_at)
VALUES ($1, $2, $3, $4, $5, coalesce((SELECT size FROM book.communities WHERE community = $3), 0), $6, $7)
