-- A webhook fails no longer. $1 community, $2 webhook
UPDATE webhooks.webhooks SET failing_since = NULL
WHERE community = $1 AND webhook = $2 AND failing_since IS NOT NULL
