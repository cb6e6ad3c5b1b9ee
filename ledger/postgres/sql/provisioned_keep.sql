-- A part of the settings is in the book. $1 community, $2 part, $3 digest, $4 now
INSERT INTO settlement.provisioned (community, part, digest, at) VALUES ($1, $2, $3, $4)
ON CONFLICT (community, part) DO UPDATE SET digest = excluded.digest, at = excluded.at
WHERE provisioned.digest <> excluded.digest
