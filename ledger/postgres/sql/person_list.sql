-- Everybody of a community, also who has ended, by name. $1 community
SELECT id, community, name, role, building, password, password_at, created_at, ended_at
FROM access.people WHERE community = $1 ORDER BY name, created_at
