-- $1 community, $2 number, $3 previous, $4 root, $5 size, $6 sealed_at, $7 hash
INSERT INTO blocks (community, number, previous, root, size, sealed_at, hash)
VALUES ($1, $2, $3, $4, $5, $6, $7)
