-- $1 community, $2 meter, $3 since, $4 device
INSERT INTO meter_readers (community, meter, since, device) VALUES ($1, $2, $3, $4)
ON CONFLICT (community, meter, since) DO UPDATE SET device = excluded.device
