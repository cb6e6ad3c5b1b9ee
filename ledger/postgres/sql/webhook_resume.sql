-- What waits for a webhook is due now, and has all its time before it. $1 community, $2 webhook, $3 now
UPDATE webhooks.deliveries SET due_at = $3, begun_at = NULL, tries = 0
WHERE community = $1 AND webhook = $2 AND state = 'waiting'
