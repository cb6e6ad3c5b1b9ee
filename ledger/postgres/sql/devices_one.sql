-- A device. $1 community, $2 name
SELECT device, role, public_key, position FROM devices WHERE community = $1 AND device = $2
