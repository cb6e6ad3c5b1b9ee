"""Passwords as argon2id hashes (RFC 9106)."""

from functools import cached_property
from secrets import token_urlsafe

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

MEMORY_KIB = 47_104
PASSES = 1
LANES = 1
"""46 MiB, one pass, one lane, as OWASP's cheat sheet on storing passwords has it first: a login then keeps
one core busy, never all of them."""


class Passwords:
    """Hashes and verifies; each takes a core for some 50 ms, so neither belongs into an event loop."""

    def __init__(self, memory_kib: int = MEMORY_KIB, passes: int = PASSES) -> None:
        self._hasher = PasswordHasher(time_cost=passes, memory_cost=memory_kib, parallelism=LANES)

    def hashed(self, password: str) -> str:
        """A hash of a password with a salt of its own, as PHC string."""
        return self._hasher.hash(password)

    def is_right(self, found: str | None, password: str) -> bool:
        """Whether a hash is that of a password. Where there is none, it takes as long to say no."""
        try:
            return self._hasher.verify(found or self._nobodys, password) and found is not None
        except (VerificationError, InvalidHashError):
            return False

    def is_outdated(self, found: str) -> bool:
        """Whether a hash was made with other parameters than these."""
        return self._hasher.check_needs_rehash(found)

    @cached_property
    def _nobodys(self) -> str:
        """The hash of a password that nobody knows."""
        return self.hashed(token_urlsafe())
