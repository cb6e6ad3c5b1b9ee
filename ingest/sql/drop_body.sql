-- :row
DELETE FROM body WHERE row = :row
