-- The start of the newest interval; none where there is none.
SELECT max(start) FROM meter_intervals
