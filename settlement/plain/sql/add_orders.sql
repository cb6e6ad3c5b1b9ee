-- One order of a building for an interval.
INSERT INTO orders (start, building, line, side, energy, price, feeder) VALUES (?, ?, ?, ?, ?, ?, ?)
