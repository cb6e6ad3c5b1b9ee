-- A webhook fails, since $3 or before. $1 community, $2 webhook
UPDATE webhooks.webhooks SET failing_since = $3
WHERE community = $1 AND webhook = $2 AND failing_since IS NULL
