"""Builders that tests of several packages share: real parts put together, nothing pretended."""
