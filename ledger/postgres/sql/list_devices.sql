-- $1 community
SELECT device, role, public_key, position FROM devices WHERE community = $1 ORDER BY device
