-- The line that told a building's energy of an interval.
SELECT line FROM energies WHERE start = ? AND building = ?
