-- Forget a webhook and all that was to be told to it. $1 community, $2 webhook
DELETE FROM webhooks.webhooks WHERE community = $1 AND webhook = $2
