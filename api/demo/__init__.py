"""The demo: a campus of five buildings lives through a month in seconds, on the real parts."""
