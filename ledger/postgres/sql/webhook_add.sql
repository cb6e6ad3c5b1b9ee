-- Keep a new webhook, told of what comes after now; nothing where there are $10 already. $1 community, $2 webhook,
-- $3 role, $4 made_by, $5 label, $6 origin, $7 topics, $8 sealed, $9 created_at
INSERT INTO webhooks.webhooks
    (community, webhook, role, made_by, label, origin, topics, sealed, created_at, sequence, position)
SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9,
    coalesce((SELECT sequence FROM book.stream_heads WHERE community = $1 AND stream = 'settlement'), 0),
    coalesce((SELECT size FROM book.communities WHERE community = $1), 0)
WHERE (SELECT count(*) FROM webhooks.webhooks WHERE community = $1) < $10
RETURNING webhook
