-- All orders in order of time, and in one order however they stood in their file.
SELECT start, building, line, side, energy, price, feeder FROM orders
ORDER BY start, building, side, price, energy, feeder, line
