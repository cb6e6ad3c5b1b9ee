-- A one-time token has enrolled a key, once. $1 prefix, $2 public key, $3 instant
UPDATE access.enrolments SET used_at = $3, public_key = $2 WHERE prefix = $1 AND used_at IS NULL
