-- $1 community, $2 device, $3 role, $4 public_key, $5 position
INSERT INTO devices (community, device, role, public_key, position) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (community, device) DO UPDATE
SET role = excluded.role, public_key = excluded.public_key, position = excluded.position
