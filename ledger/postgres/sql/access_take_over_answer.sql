-- Forget a request whose answering was begun and never ended, so that it can be begun again.
-- $1 prefix, $2 name, $3 request, $4 the oldest beginning that may still come to an end
DELETE FROM access.answers
WHERE prefix = $1 AND name = $2 AND request = $3 AND status IS NULL AND begun_at < $4
