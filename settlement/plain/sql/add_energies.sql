-- What a building took and gave in an interval, and the grid's prices in it.
INSERT INTO energies (start, building, line, shown, import, export, retail, feed_in) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
