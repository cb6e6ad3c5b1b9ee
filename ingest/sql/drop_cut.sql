-- The envelope was answered.
-- :number
DELETE FROM cut WHERE number = :number
