-- Somebody new, unless somebody of that name is there. $1 id, $2 community, $3 name, $4 role, $5 building,
-- $6 password's hash, $7 when it was chosen, $8 created at
INSERT INTO access.people (id, community, name, role, building, password, password_at, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (community, name) WHERE ended_at IS NULL DO NOTHING
RETURNING id
