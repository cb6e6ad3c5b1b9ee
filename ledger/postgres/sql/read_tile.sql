-- A full tile. $1 community, $2 level, $3 index
SELECT hashes FROM book.tiles WHERE community = $1 AND level = $2 AND index = $3
