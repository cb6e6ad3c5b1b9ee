-- $1 community, $2 position, $3 device, $4 alarm, $5 meter, $6 detail, $7 at
INSERT INTO alarms (community, position, device, alarm, meter, detail, at)
VALUES ($1, $2, $3, $4, $5, $6, $7)
