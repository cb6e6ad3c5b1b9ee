-- What an account got and gave for the months that begin from ?2 to before ?3. ?1 account
SELECT kind, took, sum(energy_milliwh), sum(amount_micro), max(run) FROM sums
WHERE account = ?1 AND month >= ?2 AND month < ?3
GROUP BY kind, took ORDER BY kind, took
