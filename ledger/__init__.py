"""The book: facts, chain, log, proofs, store, writer and projections. Imports no other package."""
