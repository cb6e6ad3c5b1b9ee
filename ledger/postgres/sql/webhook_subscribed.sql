-- Webhooks that are told of a topic, but for one. $1 community, $2 topic, $3 that one
SELECT webhook FROM webhooks.webhooks
WHERE community = $1 AND $2 = ANY(topics) AND webhook <> $3 AND disabled_at IS NULL ORDER BY webhook
