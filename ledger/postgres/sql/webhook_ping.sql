-- The ping that waits for a webhook, if there is one. $1 community, $2 webhook
SELECT delivery FROM webhooks.deliveries
WHERE community = $1 AND webhook = $2 AND topic = 'ping' AND state = 'waiting' LIMIT 1
