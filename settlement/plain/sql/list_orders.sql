-- The orders of [begin, until) in order of time, and in one order however they stood in their file.
SELECT start, building, line, side, energy, price, feeder FROM orders
WHERE start >= ? AND start < ?
ORDER BY start, building, side, price, energy, feeder, line
