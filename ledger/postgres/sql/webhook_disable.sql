-- Tell a webhook nothing more, if it fails since $5 or before, or whatever it does if that is none. $1 community,
-- $2 webhook, $3 now, $4 disabled_for
UPDATE webhooks.webhooks SET disabled_at = $3, disabled_for = $4
WHERE community = $1 AND webhook = $2 AND disabled_at IS NULL AND ($5::timestamptz IS NULL OR failing_since <= $5)
RETURNING webhook, role, made_by, label, origin, topics, sealed, created_at, rotated_at, failing_since, disabled_at,
    disabled_for
