"""A meter's extract proves that meter's readings, and shows nothing of anybody else's."""

import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ledger.book_file import EntryLine, WithheldLine, parse_line
from ledger.canonical import encode
from ledger.events import (
    AnyEvent,
    BuildingAdded,
    FeederAdded,
    KeyRevoked,
    MeterAdded,
    MeterAssigned,
    MeterRead,
)
from ledger.export import NothingToExport
from ledger.keys import b64
from ledger.merkle import verify_inclusion
from ledger.note import Checkpoint, Verifier, open_checkpoint
from ledger.registry import OPERATOR
from ledger.verify import verify_file
from tests.unit.ledger.book_lines import BookLines, failing
from tests.unit.ledger.campus import (
    DEVICES,
    KEYS,
    LOG_KEY,
    MORNING,
    STRANGER_KEY,
    enrolled,
    key,
    reading,
    readings,
)
from tests.unit.ledger.memory_ledger import (
    ORIGIN,
    MemoryLedger,
    busy_ledger,
    open_ledger,
    write_book,
    write_extract,
)

FORM, SIGNATURES, CHAINS, LOG = "form", "keys and signatures", "chains", "log"
PINNED = Verifier(ORIGIN, LOG_KEY.public)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_extract(busy_ledger(), "m-1", tmp_path_factory.mktemp("extract") / "m-1.jsonl")


@pytest.fixture
def extract(original: Path, tmp_path: Path) -> BookLines:
    return BookLines(Path(shutil.copy(original, tmp_path)))


def entry_index(extract: BookLines, stream: str, sequence: int) -> int:
    for at, data in enumerate(extract.lines):
        line = msgspec.json.decode(data)
        entry = line.get("entry") or line.get("withheld")
        if entry and (entry["stream"], entry["sequence"]) == (stream, sequence):
            return at
    raise AssertionError(stream, sequence)


def shown(path: Path) -> dict[tuple[str, int], Any]:
    """The bodies in an extract, by stream and sequence; None where one is withheld."""
    found: dict[tuple[str, int], Any] = {}
    for data in path.read_bytes().splitlines():
        line = parse_line(data)
        if isinstance(line, EntryLine):
            found[line.entry.stream, line.entry.sequence] = msgspec.json.decode(line.entry.body)
        elif isinstance(line, WithheldLine):
            found[line.withheld.stream, line.withheld.sequence] = None
    return found


# --- what is in it ----------------------------------------------------------------------------------


@pytest.mark.parametrize("meter", ["m-1", "m-2", "m-9"])
def test_an_extract_is_verified_by_itself(tmp_path: Path, meter: str) -> None:
    report = verify_file(write_extract(busy_ledger(), meter, tmp_path / "extract.jsonl"), str(PINNED))
    assert report.verified
    assert [verdict.status for verdict in report.verdicts] == ["pass"] * 4 + ["not checked", "pass"]


def test_every_reading_of_the_meter_is_in_it_and_none_of_another(original: Path) -> None:
    bodies = shown(original)
    assert [place for place in bodies if place[0] == "meter/m-1"] == [("meter/m-1", n) for n in range(1, 17)]
    assert all(bodies["meter/m-1", sequence] for sequence in range(1, 17))
    assert {place[0] for place in bodies} == {"meter/m-1", "registry", "device/gw-1", "device/operator"} & {
        place[0] for place in bodies
    }


def two_houses() -> MemoryLedger:
    """Two buildings whose meters one gateway reads, in the same envelopes."""
    ledger = open_ledger()
    other: list[AnyEvent] = [
        BuildingAdded(building="b-secret", feeder="f-1", name="Neighbour's secret house"),
        MeterAdded(
            meter="m-secret",
            role="connection",
            model="secret",
            rated_w=77_777,
            since=MORNING,
            building="b-secret",
        ),
        MeterAssigned(meter="m-secret", device="gw-1", since=MORNING),
        MeterAssigned(meter="m-secret", device="m-9", since=MORNING),
        MeterAssigned(meter="m-secret", device="gw-1", since=MORNING),
        KeyRevoked(device="m-9", key=DEVICES["m-9"][1].public.id, reason="secretly"),
    ]
    ledger.send(OPERATOR, {"registry": other})
    for begin in range(1, 9, 4):
        mine, theirs = readings(begin, begin + 4), [secret(at) for at in range(begin, begin + 4)]
        ledger.send("gw-1", {"meter/m-1": mine, "meter/m-secret": theirs})
        ledger.seal()
    return ledger


def secret(quarter: int) -> MeterRead:
    return msgspec.structs.replace(
        reading(quarter), import_wh=555_000_000 + quarter, salt="SECRETSALTSECRET", serial="secret-7"
    )


def test_no_body_of_another_meter_or_building_is_in_it(tmp_path: Path) -> None:
    ledger = two_houses()
    text = write_extract(ledger, "m-1", tmp_path / "m-1.jsonl").read_text()
    whole = write_book(ledger, tmp_path / "book.jsonl").read_text()
    for said in ("555000", "SECRETSALTSECRET", "secret-7", "b-secret", "Neighbour", "77777", "secretly"):
        assert said not in text
        assert said in whole
    # The other stream's name is in what the gateway signed, and nothing else of it.
    assert {line[:11] for line in text.splitlines() if "m-secret" in line} == {'{"signed":{'}
    assert verify_file(tmp_path / "m-1.jsonl", str(PINNED)).verified


def test_every_shown_or_withheld_event_is_in_the_book_with_the_same_hash(tmp_path: Path) -> None:
    ledger = two_houses()
    path = write_extract(ledger, "m-1", tmp_path / "m-1.jsonl")
    recorded = {(row.stream, row.sequence): row for row in ledger.event_rows}
    for data in path.read_bytes().splitlines():
        line = parse_line(data)
        if isinstance(line, EntryLine | WithheldLine):
            entry = line.entry if isinstance(line, EntryLine) else line.withheld
            row = recorded[entry.stream, entry.sequence]
            assert (entry.position, entry.hash) == (row.position, row.entry_hash.hex())


def test_the_registry_is_whole_and_what_is_others_is_withheld(tmp_path: Path) -> None:
    bodies = shown(write_extract(two_houses(), "m-1", tmp_path / "m-1.jsonl"))
    registry = [body for (stream, _), body in bodies.items() if stream == "registry"]
    types = [body["type"] for body in registry if body]
    assert len(registry) == 19
    assert types == [
        "community-opened/1", "feeder-added/1", "building-added/1", "key-enrolled/1", "meter-added/1",
        "meter-assigned/1",
    ]  # fmt: skip


def test_each_proof_leads_to_the_checkpoint(original: Path) -> None:
    lines = original.read_bytes().splitlines()
    checkpoint = open_checkpoint(msgspec.json.decode(lines[-1])["checkpoint"], PINNED)
    for data in lines:
        line = parse_line(data)
        if isinstance(line, EntryLine):
            proof = [bytes.fromhex(node) for node in line.entry.proof]
            leaf = bytes.fromhex(line.entry.hash)
            verify_inclusion(line.entry.position, checkpoint.size, leaf, proof, checkpoint.root)


def test_proofs_are_right_in_a_log_of_many_tiles(tmp_path: Path) -> None:
    ledger = open_ledger()
    same = [msgspec.structs.replace(reading(0), import_wh=1)] * 430
    for number in range(20):
        device, meter = ("gw-2", "m-2") if number % 3 else ("gw-1", "m-1")
        ledger.send(device, {f"meter/{meter}": same})
    path = write_extract(ledger, "m-1", tmp_path / "m-1.jsonl")
    report = verify_file(path, str(PINNED))
    assert report.verified
    assert report.events > 7 * 430


def test_a_meter_or_community_that_is_not_there_cannot_be_exported(tmp_path: Path) -> None:
    with pytest.raises(NothingToExport, match="no such meter"):
        write_extract(open_ledger(), "m-77", tmp_path / "extract.jsonl")
    with pytest.raises(NothingToExport, match="empty"):
        write_extract(MemoryLedger(), "m-1", tmp_path / "extract.jsonl")
    assert not list(tmp_path.iterdir())


# --- what is found when it was changed -----------------------------------------------------------------


def test_a_changed_reading_is_found_at_its_sequence(extract: BookLines) -> None:
    at = entry_index(extract, "meter/m-1", 4)
    extract.change(at, lambda line: line["entry"]["body"].update(import_wh=1_001_001))
    assert failing(extract.verify()) == {CHAINS: "meter/m-1 4"}


def test_a_changed_reading_with_its_hash_is_found_in_signature_and_log(extract: BookLines) -> None:
    at = entry_index(extract, "meter/m-1", 8)  # the last of its envelope
    extract.change(at, lambda line: line["entry"].update(hash="00" * 32))
    found = failing(extract.verify())
    assert found[CHAINS] == "meter/m-1 8"
    assert found[LOG] == "meter/m-1 8"
    assert found[SIGNATURES] == "meter/m-1 8"


@pytest.mark.parametrize(("field", "value"), [("position", 20), ("proof", []), ("proof", ["00" * 32] * 6)])
def test_a_wrong_place_or_proof_fails_in_the_log_alone(extract: BookLines, field: str, value: object) -> None:
    at = entry_index(extract, "meter/m-1", 16)
    extract.change(at, lambda line: line["entry"].update({field: value}))
    assert set(failing(extract.verify())) == {LOG}


def test_a_dropped_reading_is_found(extract: BookLines) -> None:
    del extract.lines[entry_index(extract, "meter/m-1", 4)]
    assert failing(extract.verify())[CHAINS] == "meter/m-1 5"


def test_a_reading_dropped_from_the_end_of_its_envelope_is_found(extract: BookLines) -> None:
    del extract.lines[entry_index(extract, "meter/m-1", 16)]
    assert failing(extract.verify()) == {FORM: f"line {len(extract.lines)}", CHAINS: "meter/m-1 16"}


def test_the_newest_envelope_left_out_is_found(extract: BookLines) -> None:
    del extract.lines[extract.index("signed", -1) : -1]
    assert failing(extract.verify()) == {FORM: f"line {len(extract.lines)}"}


def test_a_registry_event_cannot_be_left_out(extract: BookLines) -> None:
    del extract.lines[entry_index(extract, "registry", 5)]
    assert failing(extract.verify())[CHAINS] == "registry 6"


def test_a_registry_event_that_mattered_can_be_withheld_but_not_unseen(extract: BookLines) -> None:
    """Without the enrolment of the gateway neither its assignment nor its signatures can be believed."""
    at = entry_index(extract, "registry", 4)
    entry = msgspec.json.decode(extract.lines[at])["entry"]
    assert entry["body"]["device"] == "gw-1"
    body_hash = sha256(encode(entry.pop("body"))).hexdigest()
    extract.lines[at] = encode({"withheld": entry | {"body_hash": body_hash}})
    report = extract.verify()
    assert failing(report) == {SIGNATURES: "registry 11"}
    assert report.verdicts[1].findings[1].where.startswith("meter/m-1 1,")


def test_the_reader_is_told_how_far_the_registry_is_shown(tmp_path: Path) -> None:
    ledger = open_ledger()
    ledger.send("gw-1", {"meter/m-1": readings(1, 3)})
    report = verify_file(write_extract(ledger, "m-1", tmp_path / "one.jsonl"), str(PINNED))
    assert "up to position 12" in report.notes[-1]
    ledger.send(OPERATOR, {"registry": [MeterAssigned(meter="m-2", device="gw-1", since=MORNING)]})
    newer = verify_file(write_extract(ledger, "m-1", tmp_path / "two.jsonl"), str(PINNED))
    assert not any("up to position" in note for note in newer.notes)


def test_the_reader_is_told_that_a_withheld_event_may_end_a_key(tmp_path: Path) -> None:
    report = verify_file(write_extract(open_ledger(), "m-1", tmp_path / "one.jsonl"), str(PINNED))
    assert any("without their bodies" in note and "the end of a key" in note for note in report.notes)


def test_the_meters_own_readings_cannot_be_withheld(extract: BookLines) -> None:
    at = entry_index(extract, "meter/m-1", 2)
    entry = msgspec.json.decode(extract.lines[at])["entry"]
    body_hash = sha256(encode(entry.pop("body"))).hexdigest()
    extract.lines[at] = encode({"withheld": entry | {"body_hash": body_hash}})
    assert failing(extract.verify())[FORM] == "meter/m-1 2"


def test_an_extract_shows_every_operator_whose_key_signs_the_registry(tmp_path: Path) -> None:
    ledger = open_ledger()
    ledger.send(OPERATOR, {"registry": [enrolled("op-2", "operator", key(90))]})
    ledger.send("op-2", {"registry": [FeederAdded(feeder="f-9", name="9")]}, key(90))
    first = KeyRevoked(device=OPERATOR, key=KEYS[OPERATOR].public.id, reason="left")
    ledger.send("op-2", {"registry": [first]}, key(90))
    ledger.send("gw-1", {"meter/m-1": readings(1, 3)})
    assert verify_file(write_extract(ledger, "m-1", tmp_path / "one.jsonl"), str(PINNED)).verified


def test_an_envelope_signed_by_a_stranger_is_found(extract: BookLines) -> None:
    at = extract.index("signed", 2)
    extract.change(at, lambda line: line["signed"].update(signature=b64(STRANGER_KEY.sign(b""))))
    assert failing(extract.verify()) == {SIGNATURES: "meter/m-1 1"}


def test_an_event_that_its_envelope_does_not_cover_is_found(extract: BookLines) -> None:
    del extract.lines[extract.index("signed", 3)]
    assert SIGNATURES in failing(extract.verify())


def test_a_key_used_after_its_revocation_is_found(tmp_path: Path) -> None:
    ledger = open_ledger()
    before = ledger.registry
    ledger.send("gw-1", {"meter/m-1": readings(1, 3)})
    revoked = KeyRevoked(device="gw-1", key=KEYS["gw-1"].public.id, reason="stolen")
    ledger.send(OPERATOR, {"registry": [revoked]})
    ledger.take(ledger.sealed("gw-1", {"meter/m-1": readings(3, 5)}), judged_by=before)
    report = verify_file(write_extract(ledger, "m-1", tmp_path / "extract.jsonl"))
    assert failing(report) == {SIGNATURES: "meter/m-1 3"}


def test_another_meters_event_does_not_belong_into_it(extract: BookLines) -> None:
    at = entry_index(extract, "meter/m-1", 4)
    extract.change(at, lambda line: line["entry"].update(stream="meter/m-2"))
    assert failing(extract.verify())[FORM] == "meter/m-2 4"


def test_a_checkpoint_of_another_size_is_found(extract: BookLines) -> None:
    note = Checkpoint(ORIGIN, 40, bytes(32)).sign(LOG_KEY)
    extract.change(-1, lambda line: line.update(checkpoint=note))
    assert set(failing(extract.verify())) == {LOG}


def test_every_dropped_doubled_or_swapped_line_is_found(extract: BookLines) -> None:
    for at, lines in extract.mutilated():
        extract.lines = lines
        assert failing(extract.verify()), at
