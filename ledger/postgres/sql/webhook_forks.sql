-- Forks since an instant that a webhook was not told of. $1 community, $2 webhook, $3 instant, $4 most rows
SELECT q.digest, q.device, q.stream, q.sequence, q.first_at FROM book.quarantine q
WHERE q.community = $1 AND q.code = 'fork' AND q.first_at >= $3 AND NOT EXISTS (
    SELECT FROM webhooks.deliveries d
    WHERE d.community = $1 AND d.webhook = $2 AND d.source = 'fork/' || encode(q.digest, 'hex')
)
ORDER BY q.first_at, q.digest LIMIT $4
