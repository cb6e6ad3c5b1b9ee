"""A witness over HTTP, written from the text of C2SP tlog-witness and tlog-cosignature, with nothing of ours.

It keeps the newest size and root that it has cosigned of each log, and verifies consistency by taking the
proof of RFC 9162, section 2.1.4.1, apart again.
"""

import asyncio
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from tests.support.receiver import Answering, Received, Receiver, answer, receiving

NEVER = (0, b"")


def split(n: int) -> int:
    """The largest power of two smaller than n."""
    return 1 << ((n - 1).bit_length() - 1)


def node(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


def roots(m: int, n: int, whole: bool, old: bytes, proof: list[bytes]) -> tuple[bytes, bytes]:
    """The roots of m and of n leaves that SUBPROOF(m, D[n], whole) leads to; it uses `proof` up."""
    if m == n:
        found = old if whole else proof.pop()
        return found, found
    k = split(n)
    if m <= k:
        right = proof.pop()
        first, second = roots(m, k, whole, old, proof)
        return first, node(second, right)
    left = proof.pop()
    first, second = roots(m - k, n - k, False, old, proof)
    return node(left, first), node(left, second)


def is_consistent(m: int, n: int, old: bytes, new: bytes, proof: list[bytes]) -> bool:
    if m == 0:
        return not proof
    left = list(proof)
    try:
        return roots(m, n, True, old, left) == (old, new) and not left
    except IndexError:
        return False


class Witness:
    """Its key, the logs that it knows by origin, and what it has cosigned of each."""

    def __init__(self, name: str = "witness.example/w1") -> None:
        self.name = name
        self._key = Ed25519PrivateKey.from_private_bytes(sha256(name.encode()).digest())
        self.public = self._key.public_key().public_bytes_raw()
        self.logs: dict[str, bytes] = {}
        self.cosigned: dict[str, tuple[int, bytes]] = {}
        self.forges = False
        self.clock_seconds = 0  # so much its clock is ahead
        self.url = ""
        self.receiver: Receiver

    @property
    def key_id(self) -> bytes:
        return sha256(self.name.encode() + b"\n\x04" + self.public).digest()[:4]

    @property
    def vkey(self) -> str:
        typed = b64encode(b"\x04" + self.public).decode()
        return f"{self.name}+{self.key_id.hex()}+{typed}"

    def cosign(self, text: str) -> str:
        """A signature line over a checkpoint's text."""
        seconds = int(datetime.now(UTC).timestamp()) + self.clock_seconds
        message = f"cosignature/v1\ntime {seconds}\n{text}"
        made = self._key.sign((message + ("x" if self.forges else "")).encode())
        return f"— {self.name} {b64encode(self.key_id + seconds.to_bytes(8) + made).decode()}\n"

    async def respond(self, request: Received, writer: asyncio.StreamWriter) -> None:
        """One request."""
        await self._judged(request)(request, writer)

    def _judged(self, request: Received) -> Answering:
        if (request.method, request.path) != ("POST", "/prefix/add-checkpoint"):
            return answer(405)
        head, _, note = request.body.decode().partition("\n\n")
        first, *lines = head.split("\n")
        word, _, told = first.partition(" ")
        if word != "old" or str(int(told)) != told or len(lines) > 63:
            return answer(400)
        old, proof = int(told), [b64decode(line, validate=True) for line in lines]
        text, _, signatures = note.partition("\n\n")
        text += "\n"
        origin, size_line, root_line = text.split("\n")[:3]
        size, root = int(size_line), b64decode(root_line)
        if origin not in self.logs:
            return answer(404)
        if not self._is_signed(origin, text, signatures):
            return answer(403)
        if old > size:
            return answer(400)
        known, known_root = self.cosigned.get(origin, NEVER)
        if old != known or (old == size and root != known_root):
            return answer(409, f"{known}\n".encode(), "Content-Type: text/x.tlog.size")
        if old < size and not is_consistent(old, size, known_root, root, proof):
            return answer(422)
        self.cosigned[origin] = size, root
        return answer(200, self.cosign(text).encode(), "Content-Type: text/plain")

    def _is_signed(self, origin: str, text: str, signatures: str) -> bool:
        public = self.logs[origin]
        identity = sha256(origin.encode() + b"\n\x01" + public).digest()[:4]
        for line in signatures.splitlines():
            dash, name, encoded = line.split(" ")
            data = b64decode(encoded)
            if dash == "—" and name == origin and data[:4] == identity:
                try:
                    Ed25519PublicKey.from_public_bytes(public).verify(data[4:], text.encode())
                except InvalidSignature:
                    return False
                return True
        return False


@asynccontextmanager
async def witnessing(found: Witness) -> AsyncIterator[Witness]:
    """A witness that listens for the length of the block."""
    async with receiving() as receiver:
        receiver.answering = found.respond
        found.receiver, found.url = receiver, f"http://127.0.0.1:{receiver.port}/prefix"
        yield found
