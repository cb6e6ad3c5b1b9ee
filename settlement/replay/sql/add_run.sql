-- A run as recomputed. ?1 number, ?2 kind, ?3 until, ?4 tree size
INSERT INTO runs (number, kind, until, tree_size) VALUES (?1, ?2, ?3, ?4)
