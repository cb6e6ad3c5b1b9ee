-- A device's unused tokens enrol nothing from an instant on. $1 community, $2 device, $3 instant
UPDATE access.enrolments SET expires_at = least(expires_at, $3)
WHERE community = $1 AND device = $2 AND used_at IS NULL
