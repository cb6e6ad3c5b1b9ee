-- A try has failed, unless another was made since. $1 community, $2 webhook, $3 delivery, $4 which try it was, $5 state,
-- $6 due_at, $7 status, $8 code
UPDATE webhooks.deliveries SET state = $5, due_at = $6, status = $7, code = $8
WHERE community = $1 AND webhook = $2 AND delivery = $3 AND tries = $4 AND state = 'waiting'
