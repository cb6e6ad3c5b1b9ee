-- Webhooks of some roles, in their order. $1 community, $2 roles, $3 after which webhook, $4 most rows
SELECT webhook, role, made_by, label, origin, topics, sealed, created_at, rotated_at, failing_since, disabled_at,
    disabled_for
FROM webhooks.webhooks WHERE community = $1 AND role = ANY($2) AND webhook > $3 ORDER BY webhook LIMIT $4
