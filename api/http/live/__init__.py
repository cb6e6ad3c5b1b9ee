"""The live stream: what the book comes to say of a building, told to whoever listens."""
