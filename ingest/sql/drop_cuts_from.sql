-- Take back this envelope and all that were cut after it.
-- :number
DELETE FROM cut WHERE number >= :number
