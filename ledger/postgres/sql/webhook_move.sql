-- How far a webhook was told. $1 community, $2 webhook, $3 sequence, $4 position
UPDATE webhooks.webhooks SET sequence = $3, position = $4 WHERE community = $1 AND webhook = $2
