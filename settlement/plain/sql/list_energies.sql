-- The energies of [begin, until) in order of time.
SELECT start, building, line, shown, import, export, retail, feed_in FROM energies
WHERE start >= ? AND start < ? ORDER BY start, building, line
