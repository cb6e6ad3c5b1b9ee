-- A run as recomputed. ?1 number, ?2 kind, ?3 begin, ?4 until, ?5 tree size
INSERT INTO runs (number, kind, begin, until, tree_size) VALUES (?1, ?2, ?3, ?4, ?5)
