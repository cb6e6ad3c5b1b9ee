"""From facts to who owes whom. Imports `ledger` only."""
