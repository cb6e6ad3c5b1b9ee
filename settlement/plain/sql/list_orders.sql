-- All orders in order of time.
SELECT start, building, line, side, energy, price, feeder FROM orders ORDER BY start, building, line
