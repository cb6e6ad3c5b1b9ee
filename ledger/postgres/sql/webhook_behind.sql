-- Webhooks whose outbox lacks something that the projections have seen, or a fork. $1 community, $2 oldest fork to tell
WITH projected AS (SELECT position FROM positions WHERE community = $1)
SELECT w.webhook FROM webhooks.webhooks w, projected p
WHERE w.community = $1 AND w.disabled_at IS NULL AND (
    EXISTS (
        SELECT FROM book.events e WHERE e.community = $1 AND e.stream = 'settlement' AND e.sequence > w.sequence
            AND e.position < p.position
    )
    OR ('alarm.raised' = ANY(w.topics) AND EXISTS (
        SELECT FROM alarms a WHERE a.community = $1 AND a.position >= w.position AND a.position < p.position
    ))
    OR ('quarantine.fork' = ANY(w.topics) AND EXISTS (
        SELECT FROM book.quarantine q
        WHERE q.community = $1 AND q.code = 'fork' AND q.first_at >= greatest(w.created_at, $2) AND NOT EXISTS (
            SELECT FROM webhooks.deliveries d
            WHERE d.community = $1 AND d.webhook = w.webhook AND d.source = 'fork/' || encode(q.digest, 'hex')
        )
    ))
)
ORDER BY w.webhook
