-- A key. $1 prefix, $2 digest, $3 community, $4 role, $5 building, $6 label, $7 created at, $8 expires at
INSERT INTO access.keys (prefix, digest, community, role, building, label, created_at, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
