-- $1 community, $2 most rows
SELECT position, device, alarm, meter, detail, at FROM alarms
WHERE community = $1 ORDER BY position DESC LIMIT $2
