"""Invoices and credit notes: what a building owes for a period, line by line, each traceable to the book."""
