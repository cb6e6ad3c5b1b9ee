-- Forget a request that nothing came of, so that it can be sent again. $1 prefix, $2 name
DELETE FROM access.answers WHERE prefix = $1 AND name = $2 AND status IS NULL
