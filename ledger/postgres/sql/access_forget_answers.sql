-- Forget answers that nobody will ask for again. $1 the oldest instant to keep
DELETE FROM access.answers WHERE begun_at < $1
