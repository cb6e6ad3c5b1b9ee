-- The fence of a book that has no events yet. $1 community, $2 root of the empty tree, $3 now
INSERT INTO book.communities (community, size, peaks, root, checkpoint, recorded_at)
VALUES ($1, 0, '', $2, '', $3)
ON CONFLICT (community) DO NOTHING
