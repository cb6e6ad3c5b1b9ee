-- All energies in order of time.
SELECT start, building, line, shown, import, export, retail, feed_in FROM energies ORDER BY start, building, line
