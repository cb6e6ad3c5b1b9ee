-- ?1 meter, ?2 state
INSERT OR REPLACE INTO meter_states (meter, state) VALUES (?1, ?2)
