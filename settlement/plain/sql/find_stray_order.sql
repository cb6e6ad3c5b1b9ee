-- The first order that has no energy to go by.
SELECT o.line, o.building, EXISTS (SELECT 1 FROM energies k WHERE k.building = o.building) AS is_known
FROM orders o LEFT JOIN energies e ON e.start = o.start AND e.building = o.building
WHERE e.building IS NULL ORDER BY o.line LIMIT 1
