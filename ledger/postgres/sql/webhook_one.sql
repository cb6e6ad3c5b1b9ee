-- A webhook. $1 community, $2 webhook
SELECT webhook, role, made_by, label, origin, topics, sealed, created_at, rotated_at, failing_since, disabled_at,
    disabled_for
FROM webhooks.webhooks WHERE community = $1 AND webhook = $2
