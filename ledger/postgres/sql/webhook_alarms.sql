-- Alarms from a position on and before another, in their order. $1 community, $2 position, $3 position, $4 most rows
SELECT position, device, alarm, meter, at FROM alarms
WHERE community = $1 AND position >= $2 AND position < $3 ORDER BY position LIMIT $4
