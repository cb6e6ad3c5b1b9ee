-- ?1 meter, then an interval in the order of its fields
INSERT INTO meter_intervals (
    meter, start, import_wh, export_wh, import_register_wh, export_register_wh, end_quality, quality, epoch, position,
    decided_by
) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
