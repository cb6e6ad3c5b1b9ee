-- A message that waits no longer may have been judged again and refused with another code: what was said of it first then
-- tells which. Without that it would look as if it had been recorded, or not refused.

ALTER TABLE book.quarantine
    ADD COLUMN refused_as text;  -- the newest code of the same message, where that is another and it was not recorded

-- What waited for its predecessors and was refused when they came, or after a person had sent it again.
UPDATE book.quarantine q SET refused_as = (
    SELECT again.code FROM book.quarantine again
    WHERE again.community = q.community AND again.digest = q.digest AND again.code <> q.code
        AND CASE WHEN q.resolution = 'released' THEN again.last_at >= date_trunc('second', q.resolved_at)
            ELSE again.last_at >= q.last_at AND again.first_at <= q.resolved_at END
    ORDER BY again.last_at DESC, again.code LIMIT 1
)
WHERE q.resolved_at IS NOT NULL AND q.resolution IS DISTINCT FROM 'rejected';
