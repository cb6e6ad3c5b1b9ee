-- ?1 meter, ?2 role, ?3 building, ?4 since, ?5 until
INSERT OR REPLACE INTO meters (meter, role, building, since, until) VALUES (?1, ?2, ?3, ?4, ?5)
