-- Remember what an envelope and all after it ended in.
-- :number
INSERT OR IGNORE INTO withdrawn (stream, sequence, hash, row)
SELECT stream, last, hash, last_row FROM run WHERE cut >= :number
