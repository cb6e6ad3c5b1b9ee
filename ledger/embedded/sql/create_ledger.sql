-- Makes the ledger's database, while the cluster is being made and nobody can connect yet.
-- One line, because a server in single-user mode takes each line as a statement.
CREATE DATABASE ledger;
