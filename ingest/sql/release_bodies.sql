-- The ledger holds these bodies.
-- :stream, :first_row, :last_row
DELETE FROM body WHERE row BETWEEN :first_row AND :last_row AND stream = :stream
