-- The next position to apply, locked for this transaction. $1 community
INSERT INTO positions (community, position) VALUES ($1, 0)
ON CONFLICT (community) DO UPDATE SET position = positions.position
RETURNING position
