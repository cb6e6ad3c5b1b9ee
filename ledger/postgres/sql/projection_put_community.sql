-- $1 community, $2 name, $3 zone, $4 interval_minutes, $5 currency, $6 log_key
INSERT INTO communities (community, name, zone, interval_minutes, currency, log_key)
VALUES ($1, $2, $3, $4, $5, $6)
