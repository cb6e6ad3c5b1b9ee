-- :name, :state
INSERT INTO memory (name, state) VALUES (:name, :state)
ON CONFLICT (name) DO UPDATE SET state = excluded.state
