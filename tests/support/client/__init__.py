"""A client of the API as an outsider writes it: from its description and nothing else of this project."""
