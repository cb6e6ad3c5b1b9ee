-- The newest state of a community's log. $1 community
SELECT size, peaks, root, checkpoint, recorded_at FROM book.communities WHERE community = $1
