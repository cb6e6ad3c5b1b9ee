-- Take what is due, each by one process alone, until $3, when it is due for others again. A webhook that is disabled gets
-- pings only. $1 community, $2 now, $4 webhooks with something under way, $5 how many more of each of these,
-- $6 how many of each other, $7 most of all: those that have waited longest
WITH due AS MATERIALIZED (
    SELECT d.webhook, d.delivery, w.sealed FROM webhooks.webhooks w
    LEFT JOIN unnest($4::text[], $5::bigint[]) AS busy (webhook, free) ON busy.webhook = w.webhook
    CROSS JOIN LATERAL (
        SELECT o.webhook, o.delivery, o.due_at FROM webhooks.deliveries o
        WHERE o.community = w.community AND o.webhook = w.webhook AND o.state = 'waiting' AND o.due_at <= $2
            AND (w.disabled_at IS NULL OR o.topic = 'ping')
        ORDER BY o.due_at LIMIT coalesce(busy.free, $6) FOR UPDATE SKIP LOCKED
    ) d
    WHERE w.community = $1 ORDER BY d.due_at LIMIT $7
)
UPDATE webhooks.deliveries t SET tries = t.tries + 1, begun_at = coalesce(t.begun_at, $2), last_at = $2, due_at = $3
FROM due WHERE t.community = $1 AND t.webhook = due.webhook AND t.delivery = due.delivery
RETURNING t.webhook, t.delivery, t.topic, t.body, t.tries, t.begun_at, due.sealed
