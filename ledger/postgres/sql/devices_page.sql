-- Devices by name, a page at a time. $1 community, $2 name before the first, $3 rows at most
SELECT device, role, public_key, position FROM devices WHERE community = $1 AND device > $2 ORDER BY device LIMIT $3
