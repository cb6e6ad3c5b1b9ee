-- When the body that waits longest was kept.
SELECT kept_at FROM body ORDER BY row LIMIT 1
