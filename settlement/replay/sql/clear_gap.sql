-- Make room for a gap's intervals. ?1 meter, ?2 begin, ?3 end
DELETE FROM meter_intervals WHERE meter = ?1 AND start >= ?2 AND start < ?3
