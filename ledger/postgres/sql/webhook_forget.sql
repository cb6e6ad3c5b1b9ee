-- Forget deliveries that came to an end and were made long ago. $1 community, $2 the oldest instant to keep
DELETE FROM webhooks.deliveries WHERE community = $1 AND state <> 'waiting' AND created_at < $2
