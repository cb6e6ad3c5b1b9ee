-- Something to be told, unless it is there already. $1 community, $2 webhook, $3 delivery, $4 source, $5 topic,
-- $6 position, $7 body, $8 now
INSERT INTO webhooks.deliveries (community, webhook, delivery, source, topic, position, body, created_at, due_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8) ON CONFLICT DO NOTHING
