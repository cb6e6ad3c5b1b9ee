-- Alarms, newest first, before a position. $1 community, $2 position, $3 most rows
SELECT position, device, alarm, meter, detail, at FROM alarms
WHERE community = $1 AND position < $2 ORDER BY position DESC LIMIT $3
