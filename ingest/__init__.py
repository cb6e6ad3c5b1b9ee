"""From meter to signed envelope. Imports `ledger` only."""
