-- An invoice or credit note. $1 community, $2 number, $3 building, $4 code, $5 run, $6 position
INSERT INTO invoices (community, number, building, code, run, position) VALUES ($1, $2, $3, $4, $5, $6)
