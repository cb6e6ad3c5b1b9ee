-- Tell again, now, under the same id. $1 community, $2 webhook, $3 delivery, $4 now
UPDATE webhooks.deliveries SET state = 'waiting', tries = 0, begun_at = NULL, due_at = $4
WHERE community = $1 AND webhook = $2 AND delivery = $3 RETURNING delivery
