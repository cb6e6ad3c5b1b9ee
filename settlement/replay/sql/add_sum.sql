-- What a run posted to an account for a month. ?1 month, ?2 account, ?3 kind, ?4 whether energy was taken, ?5 energy,
-- ?6 amount, ?7 run
INSERT INTO sums (month, account, kind, took, energy_milliwh, amount_micro, run) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
ON CONFLICT DO UPDATE SET
    energy_milliwh = energy_milliwh + excluded.energy_milliwh,
    amount_micro = amount_micro + excluded.amount_micro,
    run = max(run, excluded.run)
