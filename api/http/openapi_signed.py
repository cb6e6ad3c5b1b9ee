"""What devices sign and what the ledger signs, described so that a device, or who checks the ledger, can be
written from the API's description alone: the shapes of envelopes and receipts, each with an example whose
signature holds, and the rules that no schema can tell.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any

import msgspec

from ledger.canonical import encode
from ledger.entry import EMPTY, Head
from ledger.envelope import NewRun, Signature, Stream, seal_envelope
from ledger.event import HashHex, KeyId, Name, Natural, Positive
from ledger.events import AlarmRaised, KeyRotated, MeterRead
from ledger.keys import SigningKey
from ledger.market_events import (
    AgreementAccepted,
    AgreementEnded,
    AgreementProposed,
    OrderCancelled,
    OrderPlaced,
)
from ledger.opening import enrolment
from ledger.receipt import Answer, StreamHead, sign_receipts

JSON = "application/json"
COMMUNITY, DEVICE, STREAM = "campus", "wifi-1", "meter/m-school"
AT = datetime(2026, 6, 1, tzinfo=UTC)

TAGS = Path(__file__).with_name("openapi_tags.md")
"""By tag, what holds for all of its operations: what no schema can tell."""

POSSESSED = "A device's key, and its own proof that it holds it: `possession`, which the tag Devices tells."

DeviceEvent = (
    MeterRead
    | AlarmRaised
    | KeyRotated
    | OrderPlaced
    | OrderCancelled
    | AgreementProposed
    | AgreementAccepted
    | AgreementEnded
)


class EnvelopeRun(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Consecutive events of one stream; `first` is the sequence of the first body."""

    bodies: Annotated[list[DeviceEvent], msgspec.Meta(min_length=1)]
    first: Positive
    previous: HashHex
    stream: Stream


class SignedEnvelope(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a device sends, in canonical JSON."""

    community: Name
    device: Name
    key: KeyId
    runs: Annotated[list[EnvelopeRun], msgspec.Meta(min_length=1)]
    signature: Signature


class SignedReceipt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An answer, its place among those that were given together, and the signature over all of them."""

    answer: Answer
    index: Natural
    path: Annotated[list[HashHex], msgspec.Meta(max_length=32)]
    signature: str
    size: Natural


def tell_signed(document: dict[str, Any]) -> None:
    """Put to a description what is signed."""
    document["tags"] = list(_tags())
    kinds = [SignedEnvelope, SignedReceipt]
    _, found = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    document["components"]["schemas"] |= found
    document["components"]["schemas"]["KeyEnrolled"]["description"] = POSSESSED
    envelope, head = _envelope()
    operations = {
        each["operationId"]: each for methods in document["paths"].values() for each in methods.values()
    }
    send, heads = operations["devices_envelopes"], operations["devices_heads"]
    send["requestBody"]["content"][JSON] = _content("SignedEnvelope", envelope)
    for status, code in (
        ("200", "recorded"), ("403", "unknown-device"), ("409", "sequence-gap"), ("422", "clock-skew"),
    ):  # fmt: skip
        send["responses"][status]["content"][JSON] = _content("SignedReceipt", _receipt(code, envelope, head))
    heads["responses"]["200"]["content"][JSON] = _content("SignedReceipt", _receipt("heads", b"", head))
    enrol = operations["devices_enrol"]["requestBody"]["content"][JSON]["example"]
    enrol["request"] = msgspec.json.decode(encode(enrolment(COMMUNITY, DEVICE, "meter", _key("device"))))


def _tags() -> Iterator[dict[str, str]]:
    for part in TAGS.read_text().split("# ")[1:]:
        name, _, text = part.partition("\n")
        yield {"name": name, "description": text.strip()}


def _content(name: str, example: bytes) -> dict[str, Any]:
    return {
        "schema": {"$ref": f"#/components/schemas/{name}"}, "example": msgspec.json.decode(example),
    }  # fmt: skip


def _key(whose: str) -> SigningKey:
    return SigningKey(sha256(f"example {whose}".encode()).digest())


def _envelope() -> tuple[bytes, Head]:
    read = MeterRead(
        import_wh=1_000_250, export_wh=0, measured_at=AT, quality="measured", salt="AAECAwQFBgcICQoL"
    )
    sealed, heads = seal_envelope(COMMUNITY, DEVICE, _key("device"), [NewRun(STREAM, EMPTY, [encode(read)])])
    return sealed, heads[STREAM]


def _receipt(code: str, envelope: bytes, head: Head) -> bytes:
    answer = Answer(
        code=code, community=COMMUNITY, device=DEVICE,
        envelope=sha256(envelope).hexdigest() if envelope else "0" * 64,
        heads=[StreamHead.of(STREAM, head)], recorded_at=AT,
    )  # fmt: skip
    return sign_receipts(COMMUNITY, [answer], _key("ledger"))[0]
