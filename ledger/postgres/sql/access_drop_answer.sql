-- Forget a request that nothing came of, so that it can be sent again. $1 prefix, $2 name, $3 begun at
DELETE FROM access.answers WHERE prefix = $1 AND name = $2 AND begun_at = $3 AND status IS NULL
