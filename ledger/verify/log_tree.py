"""Step 4: the tree over all entries read so far."""

from ledger.merkle import Frontier
from ledger.tiles import HASH_BYTES

WAITING_MAX = 4_096 * HASH_BYTES


class LogTree:
    """A tree that grows by entry hashes. They wait until there are many, since aligned thousands are hashed
    with less ado than every envelope's dozens."""

    def __init__(self) -> None:
        self.size = 0
        self._frontier = Frontier()
        self._waiting = bytearray()

    def extend(self, leaves: bytes) -> None:
        """Append entry hashes, given in a row."""
        self.size += len(leaves) // HASH_BYTES
        self._waiting += leaves
        if len(self._waiting) >= WAITING_MAX:
            self._grow()

    def root(self) -> bytes:
        """The root over all entries so far."""
        self._grow()
        return self._frontier.root()

    def _grow(self) -> None:
        waiting = bytes(self._waiting)
        self._frontier.extend([waiting[at : at + HASH_BYTES] for at in range(0, len(waiting), HASH_BYTES)])
        self._waiting.clear()
