-- A delivery, and its body. $1 community, $2 webhook, $3 delivery
SELECT delivery, topic, position, created_at, state, tries, begun_at, last_at, due_at, status, code, body
FROM webhooks.deliveries WHERE community = $1 AND webhook = $2 AND delivery = $3
