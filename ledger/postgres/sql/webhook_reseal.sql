-- Another secret, as long as the one before still is what it was. $1 community, $2 webhook, $3 sealed, $4 rotated_at,
-- $5 sealed before
UPDATE webhooks.webhooks SET sealed = $3, rotated_at = $4
WHERE community = $1 AND webhook = $2 AND sealed = $5 RETURNING webhook
