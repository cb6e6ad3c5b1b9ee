-- Tell a webhook again. $1 community, $2 webhook
UPDATE webhooks.webhooks SET disabled_at = NULL, disabled_for = NULL, failing_since = NULL
WHERE community = $1 AND webhook = $2
