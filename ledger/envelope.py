"""Envelopes: what a device sends, and the one signature that covers whole runs of chained events.

    {"community":..,"device":..,"key":"<key id>",
     "runs":[{"bodies":[..],"first":<sequence>,"previous":"<hex>","stream":..}],"signature":"<base64>"}

    signed text:  energy-ledger/envelope/v1\\n<community>\\n<device>\\n
                  then per run  <stream> <first> <last> <head hex>\\n

A head commits to every event before it, so a signed head signs them all. An envelope is canonical JSON and
is taken whole or not at all.
"""

from typing import Annotated, NamedTuple

import msgspec

from ledger.canonical import UNREADABLE, Malformed, NotCanonical, encode
from ledger.entry import Head, Link, chain, is_name, is_stream
from ledger.event import HashHex, KeyId, Name, Positive
from ledger.keys import SigningKey, b64, unb64

EVENTS_MAX = 500
"""Events in one envelope at most: a backlog goes in pieces that a small device can hold."""

Stream = Annotated[str, msgspec.Meta(max_length=129)]
Signature = Annotated[str, msgspec.Meta(min_length=88, max_length=88)]


class Run(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Consecutive events of one stream; `first` is the sequence of the first body."""

    bodies: Annotated[list[msgspec.Raw], msgspec.Meta(min_length=1)]
    first: Positive
    previous: HashHex
    stream: Stream

    @property
    def last(self) -> int:
        """The sequence of the last body."""
        return self.first + len(self.bodies) - 1


class Envelope(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A decoded envelope: its form is checked, its signature and its place are not."""

    community: Name
    device: Name
    key: KeyId
    runs: Annotated[list[Run], msgspec.Meta(min_length=1)]
    signature: Signature


class RunHead(NamedTuple):
    """What the signature says of one run."""

    stream: str
    first: int
    last: int
    head: bytes


_decode = msgspec.json.Decoder(Envelope).decode


def read_envelope(data: bytes) -> Envelope:
    """The envelope in `data`, if it has the form of one.

    Raises `Malformed` or `NotCanonical`. Bodies are only cut apart here; `events.read_bodies` reads them.
    """
    try:
        envelope = _decode(data)
    except UNREADABLE as error:
        raise Malformed(f"this is not an envelope: {error}") from error
    if encode(envelope) != data:
        raise NotCanonical(
            "the envelope is not canonical JSON",
            hint="sort the keys and write no white space, also around bodies",
        )
    count = sum(len(run.bodies) for run in envelope.runs)
    if count > EVENTS_MAX:
        raise Malformed(f"{count} events in one envelope; at most {EVENTS_MAX} are taken")
    streams = [run.stream for run in envelope.runs]
    for stream in streams:
        if not is_stream(stream):
            raise Malformed("this is not the name of a stream", where=stream)
    if len(set(streams)) != len(streams):
        raise Malformed("a stream has more than one run in the envelope")
    return envelope


def run_links(community: str, run: Run) -> list[Link]:
    """The links that a run's bodies form after its `previous`."""
    before = Head(run.first - 1, bytes.fromhex(run.previous))
    return chain(community, run.stream, before, [bytes(body) for body in run.bodies])


def signed_text(community: str, device: str, runs: list[RunHead]) -> bytes:
    """The bytes that the envelope's signature covers."""
    lines = "".join(f"{run.stream} {run.first} {run.last} {run.head.hex()}\n" for run in runs)
    return f"energy-ledger/envelope/v1\n{community}\n{device}\n{lines}".encode()


class NewRun(NamedTuple):
    """Bodies (canonical bytes) that continue a stream after `head`."""

    stream: str
    head: Head
    bodies: list[bytes]


def seal_envelope(
    community: str, device: str, key: SigningKey, runs: list[NewRun]
) -> tuple[bytes, dict[str, Head]]:
    """The signed bytes of an envelope over `runs`, and the head that each stream has after it.

    Raises `Malformed` for a name that the book does not allow.
    """
    wrong = [name for name in (community, device) if not is_name(name)]
    wrong += [run.stream for run in runs if not is_stream(run.stream)]
    if wrong:
        raise Malformed("this is not a name the book allows", where=wrong[0])
    heads: dict[str, Head] = {}
    signed = []
    for run in runs:
        last = run.head.sequence + len(run.bodies)
        head = Head(last, chain(community, run.stream, run.head, run.bodies)[-1].entry_hash)
        heads[run.stream] = head
        signed.append(RunHead(run.stream, run.head.sequence + 1, last, head.hash))
    envelope = Envelope(
        community=community,
        device=device,
        key=key.public.id,
        runs=[
            Run(
                bodies=[msgspec.Raw(body) for body in run.bodies],
                first=run.head.sequence + 1,
                previous=run.head.hash.hex(),
                stream=run.stream,
            )
            for run in runs
        ],
        signature=b64(key.sign(signed_text(community, device, signed))),
    )
    return encode(envelope), heads


def signature_bytes(envelope: Envelope) -> bytes:
    """The 64 bytes of the signature. Raises `Malformed`."""
    try:
        return unb64(envelope.signature)
    except ValueError as error:
        raise Malformed("the signature is not canonical base64") from error
