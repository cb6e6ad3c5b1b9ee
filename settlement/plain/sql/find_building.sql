-- Whether a building has any energy.
SELECT 1 FROM energies WHERE building = ? LIMIT 1
