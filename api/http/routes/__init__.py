"""The resources, a file for each kind of person who comes for them."""
