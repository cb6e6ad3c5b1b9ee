-- Somebody who has not ended. $1 community, $2 name
SELECT id, community, name, role, building, password, password_at, created_at, ended_at
FROM access.people WHERE community = $1 AND name = $2 AND ended_at IS NULL
