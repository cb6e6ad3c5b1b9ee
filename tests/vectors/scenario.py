"""Vectors of envelopes sent one after another, and the answer that each must get."""

import base64
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from tests.vectors.primitives import (
    COMMUNITY,
    GATEWAY,
    LOG,
    NEXT,
    OPERATOR,
    OTHER,
    SERVICE,
    Key,
    canonical,
    root_of,
)

ZEROS = "0" * 64
SALT = "AAAAAAAAAAAAAAAA"

FORMAT = (
    "Bodies and envelopes are canonical JSON (RFC 8785). body_sha256 = SHA-256(body). entry = the six lines "
    "energy-ledger/v1, community, stream, sequence, previous entry hash of the stream (64 zeros before 1), "
    "body_sha256. entry_hash = SHA-256(0x00 || entry). An envelope's signature is Ed25519 (RFC 8032) by the "
    "key `signer` over signed_text: energy-ledger/envelope/v1, community, device, then per run "
    "'<stream> <first> <last> <entry hash of the last>'; every line ends in a newline. A key is named by the "
    "first 8 bytes of SHA-256(public key)."
)


def verifier(name: str, key: Key) -> str:
    """A C2SP verifier key: name, id and 0x01 || public key."""
    typed = b"\x01" + key.public
    identity = sha256(name.encode() + b"\n" + typed).digest()[:4].hex()
    return f"{name}+{identity}+{base64.b64encode(typed).decode()}"


def possession(device: str, key: Key, signer: Key | None = None) -> dict[str, str]:
    """The fields that show that `device` holds `key`; by another `signer`, that it does not."""
    text = f"energy-ledger/possession/v1\n{COMMUNITY}\n{device}\n{key.public.hex()}\n".encode()
    return {"device": device, "public_key": key.public.hex(), "possession": (signer or key).sign(text)}


def chain(stream: str, first: int, previous: str, bodies: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The events that `bodies` make after sequence `first`, whose entry hash is `previous`."""
    events = []
    for sequence, body in enumerate(map(canonical, bodies), first + 1):
        digest = sha256(body).hexdigest()
        entry = f"energy-ledger/v1\n{COMMUNITY}\n{stream}\n{sequence}\n{previous}\n{digest}\n"
        previous = sha256(b"\x00" + entry.encode()).hexdigest()
        events.append(
            {
                "stream": stream,
                "sequence": sequence,
                "body": body.decode(),
                "body_sha256": digest,
                "entry": entry,
                "entry_hash": previous,
            }
        )
    return events


class Scenario:
    """Envelopes sent one after another to a ledger, and its answers."""

    def __init__(self) -> None:
        self.heads: dict[str, tuple[int, str]] = {}
        self.leaves: list[bytes] = []
        self.steps: list[dict[str, Any]] = []

    def send(
        self,
        what: str,
        device: str,
        signer: Key,
        *runs: tuple[str, list[dict[str, Any]]],
        code: str = "recorded",
    ) -> None:
        """One envelope over `runs` (stream, bodies) that continue their streams, answered with `code`."""
        heads, written, lines, events = dict(self.heads), [], "", []
        for stream, bodies in runs:
            first, previous = heads.get(stream, (0, ZEROS))
            chained = chain(stream, first, previous, bodies)
            last, head = chained[-1]["sequence"], chained[-1]["entry_hash"]
            written.append({"bodies": bodies, "first": first + 1, "previous": previous, "stream": stream})
            lines += f"{stream} {first + 1} {last} {head}\n"
            heads[stream] = (last, head)
            events += chained
        text = f"energy-ledger/envelope/v1\n{COMMUNITY}\n{device}\n{lines}"
        envelope = {"community": COMMUNITY, "device": device, "key": signer.id, "runs": written}
        envelope["signature"] = signer.sign(text.encode())
        self.steps.append(
            {
                "what": what,
                "code": code,
                "device": device,
                "signer": signer.name,
                "envelope": canonical(envelope).decode(),
                "signed_text": text,
                "signature": envelope["signature"],
                "events": events,
            }
        )
        if code == "recorded":
            self.heads = heads
            self.leaves += [bytes.fromhex(event["entry_hash"]) for event in events]

    def send_again(self, what: str, step: int) -> None:
        """An envelope that was taken before."""
        self.steps.append(self.steps[step] | {"what": what, "code": "duplicate"})

    def written(self, about: str, keys: Sequence[Key], devices: dict[str, Any]) -> dict[str, Any]:
        return {
            "about": f"{about} A step is answered with `code`; only `recorded` steps enter the log. {FORMAT}",
            "community": COMMUNITY,
            "now": "2026-06-01T12:00:00Z",
            "keys": [key.described() for key in keys],
            "steps": self.steps,
            "devices": devices,
            "tree": {"size": len(self.leaves), "root": root_of(self.leaves).hex()},
        }


def opening() -> Scenario:
    """A book that is open, with a gateway `gw-1` that reads the meter `m-1`."""
    scenario = Scenario()
    opened = {
        "type": "community-opened/1",
        "community": COMMUNITY,
        "name": "วิทยาเขต",
        "zone": "Asia/Bangkok",
        "interval_minutes": 15,
        "currency": "THB",
        "log_key": verifier("ledger.example/campus", LOG),
        "service_key": SERVICE.public.hex(),
        "operator_key": OPERATOR.public.hex(),
    }
    scenario.send("the service opens the book", "service", SERVICE, ("registry", [opened]))
    facts: list[dict[str, Any]] = [
        {"type": "feeder-added/1", "feeder": "f-1", "name": "Feeder 1"},
        {"type": "building-added/1", "building": "b-1", "feeder": "f-1", "name": "Science"},
        {"type": "key-enrolled/1", "role": "gateway", **possession("gw-1", GATEWAY)},
        {
            "type": "meter-added/1",
            "meter": "m-1",
            "role": "connection",
            "model": "sdm630",
            "rated_w": 69_000,
            "since": "2026-06-01T00:00:00Z",
            "building": "b-1",
        },
        {"type": "meter-assigned/1", "meter": "m-1", "device": "gw-1", "since": "2026-06-01T00:00:00Z"},
    ]
    scenario.send("the operator enrols a gateway and its meter", "operator", OPERATOR, ("registry", facts))
    return scenario


def reading(quarter: int) -> dict[str, Any]:
    return {
        "type": "meter-read/1",
        "import_wh": 1_000_000 + 250 * quarter,
        "export_wh": 0,
        "measured_at": f"2026-06-01T{quarter // 4:02d}:{quarter % 4 * 15:02d}:00Z",
        "quality": "measured",
        "salt": SALT,
    }


def registry_vectors() -> dict[str, Any]:
    scenario = opening()
    alarm = {
        "type": "alarm-raised/1",
        "at": "2026-06-01T00:20:00Z",
        "alarm": "door-open",
        "detail": "ประตูเปิด",
        "salt": SALT,
        "meter": "m-1",
    }
    scenario.send(
        "the gateway sends readings and an alarm",
        "gw-1",
        GATEWAY,
        ("meter/m-1", [reading(0), reading(1)]),
        ("device/gw-1", [alarm]),
    )
    scenario.send_again("the gateway did not get the receipt", 2)
    feeder = {"type": "feeder-added/1", "feeder": "f-2", "name": "Feeder 2"}
    scenario.send("a gateway is no operator", "gw-1", GATEWAY, ("registry", [feeder]), code="not-permitted")
    scenario.send(
        "nor is a stranger a gateway", "gw-1", OTHER, ("meter/m-1", [reading(2)]), code="unknown-device"
    )
    revoked = {"type": "key-revoked/1", "device": "gw-1", "key": GATEWAY.id, "reason": "stolen"}
    scenario.send("the gateway was stolen", "operator", OPERATOR, ("registry", [revoked]))
    scenario.send_again("what came in before is there", 2)
    scenario.send("the thief goes on", "gw-1", GATEWAY, ("meter/m-1", [reading(2)]), code="key-revoked")
    again = {"type": "key-enrolled/1", "role": "gateway", **possession("gw-1", NEXT)}
    scenario.send("a new gateway takes its place", "operator", OPERATOR, ("registry", [again]))
    scenario.send("and continues the meter's chain", "gw-1", NEXT, ("meter/m-1", [reading(2)]))
    keys = (SERVICE, OPERATOR, LOG, GATEWAY, NEXT, OTHER)
    devices = {
        "gw-1": {"role": "gateway", "key": NEXT.id, "former": [GATEWAY.id]},
        "operator": {"role": "operator", "key": OPERATOR.id, "former": []},
        "service": {"role": "service", "key": SERVICE.id, "former": []},
    }
    return scenario.written("From genesis to a replaced gateway.", keys, devices)


def rotation_vectors() -> dict[str, Any]:
    scenario = opening()
    stolen = {"type": "key-rotated/1", **possession("gw-1", NEXT, signer=OTHER)}
    scenario.send(
        "a new key must sign for itself", "gw-1", GATEWAY, ("device/gw-1", [stolen]), code="contradiction"
    )
    rotated = {"type": "key-rotated/1", **possession("gw-1", NEXT)}
    scenario.send(
        "the old key signs its own successor, and what goes with it",
        "gw-1",
        GATEWAY,
        ("device/gw-1", [rotated]),
        ("meter/m-1", [reading(0)]),
    )
    scenario.send_again("the gateway did not get the receipt", 3)
    scenario.send("the old key is gone", "gw-1", GATEWAY, ("meter/m-1", [reading(1)]), code="key-revoked")
    scenario.send("the new key counts", "gw-1", NEXT, ("meter/m-1", [reading(1)]))
    back = {"type": "key-rotated/1", **possession("gw-1", GATEWAY)}
    scenario.send("no key comes back", "gw-1", NEXT, ("device/gw-1", [back]), code="contradiction")
    devices = {
        "gw-1": {"role": "gateway", "key": NEXT.id, "former": [GATEWAY.id]},
        "operator": {"role": "operator", "key": OPERATOR.id, "former": []},
        "service": {"role": "service", "key": SERVICE.id, "former": []},
    }
    text = f"energy-ledger/possession/v1\n{COMMUNITY}\ngw-1\n{NEXT.public.hex()}\n"
    written = scenario.written(
        "A device's key is rotated.", (SERVICE, OPERATOR, LOG, GATEWAY, NEXT, OTHER), devices
    )
    return written | {
        "possession": {"signer": NEXT.name, "signed_text": text, "signature": NEXT.sign(text.encode())}
    }
