-- Make room for a gap's intervals. $1 community, $2 meter, $3 begin, $4 end
DELETE FROM meter_intervals WHERE community = $1 AND meter = $2 AND start >= $3 AND start < $4
