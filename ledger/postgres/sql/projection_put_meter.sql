-- $1 community, $2 meter, $3 role, $4 building, $5 model, $6 rated_w, $7 since, $8 until
INSERT INTO meters (community, meter, role, building, model, rated_w, since, until)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (community, meter) DO UPDATE
SET role = excluded.role, building = excluded.building, model = excluded.model,
    rated_w = excluded.rated_w, since = excluded.since, until = excluded.until
