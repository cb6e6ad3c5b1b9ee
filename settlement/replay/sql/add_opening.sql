-- ?1 meter, ?2 instant, ?3 import, ?4 export, ?5 position, ?6 epoch, ?7 whether it was measured
INSERT INTO openings (meter, at, import_wh, export_wh, position, epoch, measured) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
