-- Keep a checkpoint that a witness has cosigned, where it is not kept yet. $1 community, $2 size, $3 checkpoint
INSERT INTO book.witnessed (community, size, checkpoint) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING
