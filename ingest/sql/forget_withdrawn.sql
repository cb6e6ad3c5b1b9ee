-- Links under which nothing waits any more.
DELETE FROM withdrawn
WHERE NOT EXISTS (SELECT 1 FROM body WHERE body.row <= withdrawn.row AND body.stream = withdrawn.stream)
