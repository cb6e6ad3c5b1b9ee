-- What waits for webhooks that are told, since when the oldest does, and how many webhooks are disabled. $1 community
SELECT
    count(d.delivery) FILTER (WHERE w.disabled_at IS NULL) AS waiting,
    min(d.created_at) FILTER (WHERE w.disabled_at IS NULL) AS oldest,
    count(DISTINCT w.webhook) FILTER (WHERE w.disabled_at IS NOT NULL) AS disabled
FROM webhooks.webhooks w
LEFT JOIN webhooks.deliveries d ON d.community = w.community AND d.webhook = w.webhook AND d.state = 'waiting'
WHERE w.community = $1
