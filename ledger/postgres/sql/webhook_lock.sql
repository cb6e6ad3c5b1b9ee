-- A webhook's place in the book and how far the projections are, held to the end of the transaction; nothing where
-- somebody else holds it. $1 community, $2 webhook
SELECT w.topics, w.created_at, w.sequence, w.position,
    coalesce((SELECT position FROM positions WHERE community = $1), 0) AS projected
FROM webhooks.webhooks w WHERE w.community = $1 AND w.webhook = $2 AND w.disabled_at IS NULL
FOR UPDATE SKIP LOCKED
