-- All energies in order of time.
SELECT start, building, shown, line, import, export, retail, feed_in FROM energies ORDER BY start, building
