"""A book file as a list of lines that can be changed, for tests of what a change is found by."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from ledger.canonical import encode
from ledger.entry import Head, chain
from ledger.envelope import RunHead, signed_text
from ledger.keys import SigningKey, b64
from ledger.verify import Report, verify_file
from tests.unit.ledger.campus import COMMUNITY

Change = Callable[[Any], None]


class BookLines:
    """The lines of a book, without their newlines."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines = path.read_bytes().splitlines()

    def index(self, kind: str, nth: int = 0) -> int:
        """Where the `nth` line of a kind stands, from 0."""
        start = f'{{"{kind}":'.encode()
        return [at for at, line in enumerate(self.lines) if line.startswith(start)][nth]

    def run_index(self, stream: str, sequence: int) -> int:
        """Where the envelope stands that first brought an event."""
        for at, line in enumerate(self.lines):
            if line.startswith(b'{"envelope":'):
                for run in msgspec.json.decode(line)["envelope"]["runs"]:
                    if run["stream"] == stream and 0 <= sequence - run["first"] < len(run["bodies"]):
                        return at
        raise AssertionError(stream, sequence)

    def change(self, at: int, change: Change) -> None:
        """Decode a line, change it, write it canonically again."""
        line = msgspec.json.decode(self.lines[at])
        change(line)
        self.lines[at] = encode(line)

    def replace(self, at: int, old: str, new: str) -> None:
        """Replace a text in a line, once."""
        assert old.encode() in self.lines[at]
        self.lines[at] = self.lines[at].replace(old.encode(), new.encode(), 1)

    def mutilated(self) -> Iterator[tuple[int, list[bytes]]]:
        """The lines with each of them dropped, doubled or swapped with the next."""
        lines = self.lines
        for at in range(len(lines)):
            for changed in (
                lines[:at] + lines[at + 1 :],
                [*lines[: at + 1], *lines[at:]],
                [*lines[:at], *reversed(lines[at : at + 2]), *lines[at + 2 :]],
            ):
                if changed != lines:
                    yield at, changed

    def write(self) -> Path:
        """The changed book beside the first."""
        path = self.path.with_name("changed.jsonl")
        path.write_bytes(b"".join(line + b"\n" for line in self.lines))
        return path

    def verify(self, **options: Any) -> Report:
        """What is found in the changed book."""
        return verify_file(self.write(), **options)


def bodies(line: Any) -> list[Any]:
    """The bodies of an envelope line's first run."""
    found: list[Any] = line["envelope"]["runs"][0]["bodies"]
    return found


def failing(report: Report) -> dict[str, str]:
    """The steps that failed and the first bad place of each: an event, or a line where no event is known."""
    found = {}
    for verdict in report.verdicts:
        if verdict.status == "fail":
            first = verdict.findings[0]
            found[verdict.name] = f"{first.stream} {first.sequence}" if first.stream else f"line {first.line}"
    return found


def rehash(line: Any) -> None:
    """Give an envelope line of one run the entry hashes that its bodies have."""
    (run,) = line["envelope"]["runs"]
    head = Head(run["first"] - 1, bytes.fromhex(run["previous"]))
    links = chain(COMMUNITY, run["stream"], head, [encode(body) for body in run["bodies"]])
    line["hashes"] = "".join(link.entry_hash.hex() for link in links)


def resign(line: Any, key: SigningKey) -> None:
    """Sign an envelope line of one run anew, over the last of its hashes."""
    envelope = line["envelope"]
    (run,) = envelope["runs"]
    last = run["first"] + len(run["bodies"]) - 1
    head = RunHead(run["stream"], run["first"], last, bytes.fromhex(line["hashes"][-64:]))
    envelope["signature"] = b64(key.sign(signed_text(COMMUNITY, envelope["device"], [head])))
