-- The newest body under a link that an envelope which was taken back ended in.
-- :stream, :sequence, :hash
SELECT row FROM withdrawn WHERE stream = :stream AND sequence = :sequence AND hash = :hash
