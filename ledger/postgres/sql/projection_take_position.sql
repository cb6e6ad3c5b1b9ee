-- The next position to apply, locked for this transaction, and the version of the tables. $1 community
INSERT INTO positions (community, position) VALUES ($1, 0)
ON CONFLICT (community) DO UPDATE SET position = positions.position
RETURNING position, (SELECT number FROM version) AS version
