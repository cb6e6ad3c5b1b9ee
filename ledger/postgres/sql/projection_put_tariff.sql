-- A tariff as published last. $1 community, $2 tariff, $3 position
INSERT INTO tariffs (community, tariff, position) VALUES ($1, $2, $3)
ON CONFLICT (community, tariff) DO UPDATE SET position = excluded.position
