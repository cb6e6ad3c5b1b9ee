-- $1 community, $2 next position
UPDATE positions SET position = $2 WHERE community = $1
