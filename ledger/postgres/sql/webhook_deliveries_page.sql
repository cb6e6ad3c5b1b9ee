-- Deliveries of a webhook, newest first, behind a place in that order. $1 community, $2 webhook, $3 created_at and
-- $4 delivery of that place, $5 one state only, or nothing for all, $6 most rows
SELECT delivery, topic, position, created_at, state, tries, begun_at, last_at, due_at, status, code
FROM webhooks.deliveries
WHERE community = $1 AND webhook = $2 AND (created_at, delivery) < ($3, $4) AND ($5::text = '' OR state = $5)
ORDER BY created_at DESC, delivery DESC LIMIT $6
