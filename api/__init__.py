"""How people reach the book: command line and composition root. May import every package."""
