"""The public anchor of block hashes. Imports `ledger` only."""
