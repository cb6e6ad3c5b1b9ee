"""Whatever is changed in a book is found, by the step that it concerns, at the place where it was done."""

import gzip
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ledger.book_file import LINE_BYTES_MAX
from ledger.canonical import encode
from ledger.events import (
    AnyEvent,
    BlockSealed,
    KeyRevoked,
    MeterAssigned,
    MeterRead,
    RegisterEpochOpened,
)
from ledger.note import Checkpoint, NoteError, Verifier
from ledger.registry import OPERATOR, SERVICE, Meter
from ledger.verify import chunks, verify_file
from ledger.verify.plain import PlainReader
from ledger.verify.report import PLAUSIBILITY
from tests.unit.ledger.book_lines import BookLines, failing, rehash, resign
from tests.unit.ledger.campus import (
    ALARM,
    DEVICES,
    KEYS,
    LOG_KEY,
    MORNING,
    STRANGER_KEY,
    enrolled,
    reading,
    readings,
)
from tests.unit.ledger.memory_ledger import (
    NEXT_KEY,
    ORIGIN,
    MemoryLedger,
    busy_ledger,
    open_ledger,
    write_book,
)

FORM, SIGNATURES, CHAINS, LOG, BLOCKS = "form", "keys and signatures", "chains", "log", "blocks"
PINNED = str(Verifier(ORIGIN, LOG_KEY.public))


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_book(busy_ledger(), tmp_path_factory.mktemp("book") / "book.jsonl")


@pytest.fixture
def book(original: Path, tmp_path: Path) -> BookLines:
    return BookLines(Path(shutil.copy(original, tmp_path)))


def bodies(line: Any) -> list[Any]:
    found: list[Any] = line["envelope"]["runs"][0]["bodies"]
    return found


# --- nothing was changed --------------------------------------------------------------------------


def test_an_export_is_verified_with_the_pinned_key(original: Path) -> None:
    report = verify_file(original, PINNED)
    assert report.verified
    assert report.pinned
    assert report.notes == []
    assert [verdict.status for verdict in report.verdicts] == ["pass"] * 6
    assert report.events == report.size == 44


def test_without_a_pinned_key_the_books_own_is_shown_for_comparison(original: Path) -> None:
    report = verify_file(original)
    assert report.verified
    assert not report.pinned
    assert report.log_key == PINNED
    assert PINNED in report.notes[0]


def test_looking_closely_at_every_line_comes_to_the_same(
    original: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quickly = verify_file(original)
    monkeypatch.setattr(PlainReader, "read", lambda self, data: None)
    assert verify_file(original) == quickly


def test_the_hot_loop_takes_all_that_is_ordinary(original: Path) -> None:
    reader = PlainReader("campus", {key.public.id: key.public.bytes for key in (*KEYS.values(), NEXT_KEY)})
    seen = [reader.read(line) for line in original.read_bytes().splitlines()]
    assert len([each for each in seen if each is not None]) == 5  # the others are no readings, or repeat some


def test_a_compressed_book_is_verified(original: Path, tmp_path: Path) -> None:
    packed = tmp_path / "book.jsonl.gz"
    packed.write_bytes(gzip.compress(original.read_bytes()))
    assert verify_file(packed, PINNED).verified
    packed.write_bytes(packed.read_bytes()[:-200])
    assert failing(verify_file(packed))[FORM].startswith("line")


def test_several_processes_come_to_the_same(
    original: Path, book: BookLines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 2_000)
    assert verify_file(original, workers=2) == verify_file(original, workers=1)
    book.change(book.run_index("meter/m-1", 4), lambda line: bodies(line)[3].update(import_wh=1))
    path = book.write()
    path.write_bytes(path.read_bytes()[:-1])
    report = verify_file(path, workers=2)
    assert report == verify_file(path, workers=1)
    assert failing(report) == {FORM: f"line {len(book.lines)}", CHAINS: "meter/m-1 4"}


# --- one event ------------------------------------------------------------------------------------


def test_a_changed_body_is_found_at_its_sequence_and_leaves_the_other_verdicts_alone(book: BookLines) -> None:
    book.change(book.run_index("meter/m-1", 4), lambda line: bodies(line)[3].update(import_wh=1_001_001))
    assert failing(book.verify()) == {CHAINS: "meter/m-1 4"}


def test_a_body_that_is_no_json_is_found_at_its_sequence(book: BookLines) -> None:
    at = book.run_index("meter/m-1", 4)
    fourth = encode(bodies(msgspec.json.decode(book.lines[at]))[3]).decode()
    book.replace(at, fourth, fourth.replace('"quality"', "'quality'"))
    assert failing(book.verify())[FORM] == "meter/m-1 4"


def test_a_body_of_an_unknown_type_is_found_at_its_sequence(book: BookLines) -> None:
    book.change(book.run_index("meter/m-1", 4), lambda line: bodies(line)[3].update(type="meter-road/1"))
    assert failing(book.verify()) == {FORM: "meter/m-1 4", CHAINS: "meter/m-1 4"}


def test_a_body_that_is_not_canonical_is_found_even_when_all_hashes_and_signatures_are_made_for_it(
    book: BookLines,
) -> None:
    at = book.run_index("meter/m-9", 2)
    line = msgspec.json.decode(book.lines[at])
    odd = bodies(line)[1] | {"measured_at": "2026-06-01T07:30:00+07:00"}
    book.change(at, lambda line: bodies(line).__setitem__(1, odd))
    book.change(at, rehash)
    book.change(at, lambda line: resign(line, KEYS["m-9"]))
    found = failing(book.verify())
    assert found[FORM] == "meter/m-9 2"
    assert CHAINS not in found
    assert SIGNATURES not in found
    assert LOG in found


def test_a_dropped_event_is_found_where_it_was(book: BookLines) -> None:
    def drop(line: Any) -> None:
        del bodies(line)[3]
        line["hashes"] = line["hashes"][: 3 * 64] + line["hashes"][4 * 64 :]

    book.change(book.run_index("meter/m-1", 4), drop)
    found = failing(book.verify())
    assert found[CHAINS] == "meter/m-1 4"
    assert found[SIGNATURES] == "meter/m-1 1"
    assert LOG in found
    assert BLOCKS in found


def test_an_inserted_event_is_found_where_it_is(book: BookLines) -> None:
    def insert(line: Any) -> None:
        bodies(line).insert(3, bodies(line)[3] | {"import_wh": 1_000_800})
        line["hashes"] = line["hashes"][: 3 * 64] + "00" * 32 + line["hashes"][3 * 64 :]

    book.change(book.run_index("meter/m-1", 4), insert)
    found = failing(book.verify())
    assert found[CHAINS] == "meter/m-1 4"
    assert SIGNATURES in found


def test_swapped_events_are_found_at_the_first(book: BookLines) -> None:
    def swap(line: Any) -> None:
        found = bodies(line)
        found[3], found[5] = found[5], found[3]

    book.change(book.run_index("meter/m-1", 4), swap)
    assert failing(book.verify()) == {CHAINS: "meter/m-1 4"}


def test_a_changed_entry_hash_is_found_at_its_sequence(book: BookLines) -> None:
    def change(line: Any) -> None:
        line["hashes"] = line["hashes"][: 3 * 64] + "00" * 32 + line["hashes"][4 * 64 :]

    book.change(book.run_index("meter/m-1", 4), change)
    found = failing(book.verify())
    assert found[CHAINS] == "meter/m-1 4"
    assert LOG in found


def test_a_run_made_anew_without_the_devices_key_fails_in_signature_and_log(book: BookLines) -> None:
    at = book.run_index("meter/m-2", 1)
    book.change(at, lambda line: bodies(line)[1].update(import_wh=1_000_501))
    book.change(at, rehash)
    found = failing(book.verify())
    assert found[SIGNATURES] == "meter/m-2 1"
    assert found[CHAINS] == "meter/m-2 5"  # where the next run goes on from the true head
    assert found[LOG] == "meter/m-2 5"
    assert found[BLOCKS] == "device/service 1"
    assert FORM not in found


def test_a_run_made_anew_with_the_devices_key_fails_in_the_log(book: BookLines) -> None:
    at = book.run_index("meter/m-9", 1)  # nothing follows in this stream
    book.change(at, lambda line: bodies(line)[1].update(import_wh=1_000_501))
    book.change(at, rehash)
    book.change(at, lambda line: resign(line, KEYS["m-9"]))
    found = failing(book.verify())
    assert found == {LOG: f"line {len(book.lines)}", BLOCKS: "device/service 2"}
    log = next(verdict for verdict in book.verify().verdicts if verdict.name == LOG)
    assert "the blocks agree with the first 25 entries, not with the first 37" in log.findings[0].what


# --- envelopes ------------------------------------------------------------------------------------


def test_an_envelope_signed_with_another_key_fails_in_its_signature_alone(book: BookLines) -> None:
    book.change(book.run_index("meter/m-1", 4), lambda line: resign(line, STRANGER_KEY))
    assert failing(book.verify()) == {SIGNATURES: "meter/m-1 1"}


def test_an_envelope_under_another_enrolled_key_fails_in_its_signature_alone(book: BookLines) -> None:
    def change(line: Any) -> None:
        line["envelope"]["key"] = NEXT_KEY.public.id  # enrolled later
        resign(line, NEXT_KEY)

    book.change(book.run_index("meter/m-1", 4), change)
    assert failing(book.verify()) == {SIGNATURES: "meter/m-1 1"}


def test_an_envelope_under_another_devices_name_fails_in_its_signature(book: BookLines) -> None:
    book.change(book.run_index("meter/m-1", 4), lambda line: line["envelope"].update(device="m-9"))
    assert failing(book.verify()) == {SIGNATURES: "meter/m-1 1"}


def test_an_envelope_for_another_community_is_found(book: BookLines) -> None:
    book.change(book.run_index("meter/m-1", 4), lambda line: line["envelope"].update(community="block"))
    assert failing(book.verify())[FORM] == "meter/m-1 1"


def test_a_dropped_envelope_is_found_as_a_gap(book: BookLines) -> None:
    del book.lines[book.run_index("meter/m-1", 9)]
    found = failing(book.verify())
    assert found[CHAINS] == found[LOG] == "meter/m-1 11"
    assert BLOCKS in found


def test_reordered_envelopes_are_found(book: BookLines) -> None:
    one, two = book.run_index("meter/m-1", 1), book.run_index("meter/m-2", 1)
    book.lines[one], book.lines[two] = book.lines[two], book.lines[one]
    found = failing(book.verify())
    assert found[LOG] == "meter/m-2 1"
    assert CHAINS not in found  # each stream is in order
    assert BLOCKS in found


def test_a_shifted_position_is_found(book: BookLines) -> None:
    def shift(line: Any) -> None:
        line["position"] += 1

    book.change(book.run_index("meter/m-1", 4), shift)
    assert failing(book.verify()) == {LOG: "meter/m-1 1"}


def test_every_dropped_doubled_or_swapped_line_is_found(book: BookLines) -> None:
    lines = book.lines
    for at in range(len(lines)):
        for changed in (
            lines[:at] + lines[at + 1 :],
            [*lines[: at + 1], *lines[at:]],
            [*lines[:at], *reversed(lines[at : at + 2]), *lines[at + 2 :]],
        ):
            if changed != lines:
                book.lines = changed
                found = failing(book.verify())
                assert found, at
                assert all(found.values())


# --- the ends of the file ---------------------------------------------------------------------------


def test_a_truncated_file_is_never_verified(book: BookLines) -> None:
    whole = book.write().read_bytes()
    for size in (*range(0, len(whole), 997), len(whole) - 1, whole.rindex(b"\n", 0, -1) + 1):
        path = book.path.with_name("cut.jsonl")
        path.write_bytes(whole[:size])
        report = verify_file(path)
        assert not report.verified
        assert failing(report)[FORM].startswith(("line", "meter", "registry", "device"))


@pytest.mark.parametrize("trash", [b"\n", b"x", b"{}\n", b'{"book":{}}\n', b"\x00" * 100])
def test_something_after_the_checkpoint_is_found(book: BookLines, trash: bytes) -> None:
    path = book.write()
    path.write_bytes(path.read_bytes() + trash)
    assert failing(verify_file(path)) == {FORM: f"line {len(book.lines) + 1}"}


def test_a_line_without_end_does_not_fill_the_memory(book: BookLines) -> None:
    book.lines.insert(-1, b'{"envelope":"' + b"x" * (2 * LINE_BYTES_MAX))
    found = failing(book.verify())
    assert FORM in found
    assert "longer than" in book.verify().verdicts[0].findings[0].what


@pytest.mark.parametrize(
    ("field", "value", "step"),
    [
        ("size", 43, LOG),
        ("community", "block", FORM),
        ("log_key", str(Verifier(ORIGIN, STRANGER_KEY.public)), LOG),
        ("format", "energy-ledger-book/2", FORM),
        ("scope", "meter", FORM),
        ("meter", "m-1", FORM),
    ],
)
def test_an_edited_header_is_found(book: BookLines, field: str, value: object, step: str) -> None:
    book.change(0, lambda line: line["book"].update({field: value}))
    assert step in failing(book.verify())


def test_without_its_header_a_file_is_not_checked_further(book: BookLines) -> None:
    del book.lines[0]
    report = book.verify()
    assert [verdict.status for verdict in report.verdicts] == ["fail"] + ["not checked"] * 5
    assert not report.verified


# --- the checkpoint ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("old", "new"), [(r"\n44\n", r"\n45\n"), (r"campus\n44", r"camper\n44")])
def test_an_edited_checkpoint_fails_in_the_log_alone(book: BookLines, old: str, new: str) -> None:
    book.replace(-1, old, new)
    assert failing(book.verify()) == {LOG: f"line {len(book.lines)}"}


def test_a_checkpoint_of_another_tree_fails_in_the_log_alone(book: BookLines) -> None:
    note = Checkpoint(ORIGIN, 44, bytes(32)).sign(LOG_KEY)
    book.change(-1, lambda line: line.update(checkpoint=note))
    assert failing(book.verify()) == {LOG: f"line {len(book.lines)}"}


def test_a_checkpoint_of_another_size_fails_in_the_log_alone(book: BookLines) -> None:
    note = Checkpoint(ORIGIN, 40, bytes(32)).sign(LOG_KEY)
    book.change(-1, lambda line: line.update(checkpoint=note))
    assert failing(book.verify()) == {LOG: "line 1"}


def test_a_book_written_anew_by_somebody_else_does_not_pass_under_the_pinned_key(original: Path) -> None:
    assert verify_file(original).verified
    other = str(Verifier(ORIGIN, STRANGER_KEY.public))
    report = verify_file(original, other)
    assert set(failing(report)) == {LOG}
    assert not report.verified


def test_a_pinned_key_that_is_none_is_refused(original: Path) -> None:
    with pytest.raises(NoteError):
        verify_file(original, "ledger.example/campus")


# --- keys -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("public_key", STRANGER_KEY.public.bytes.hex()),
        ("public_key", "00" * 32),
        ("id", "0" * 16),
        ("enrolled", 2),
        ("ended", 40),
        ("role", "operator"),
        ("device", "gw-3"),
    ],
)
def test_an_edited_key_line_fails_in_keys_alone(book: BookLines, field: str, value: object) -> None:
    book.change(book.index("key", 2), lambda line: line["key"].update({field: value}))
    assert failing(book.verify()) == {SIGNATURES: "line 4"}


def test_keys_in_another_order_are_found(book: BookLines) -> None:
    one, two = book.index("key", 3), book.index("key", 4)
    book.lines[one], book.lines[two] = book.lines[two], book.lines[one]
    assert failing(book.verify()) == {SIGNATURES: "line 5"}


# --- blocks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("root", "00" * 32),
        ("previous", "00" * 32),
        ("sealed_at", "2026-06-01T11:00:00Z"),
        ("number", 3),
        ("size", 36),
        ("community", "block"),
    ],
)
def test_an_edited_block_fails_in_blocks_alone(book: BookLines, field: str, value: object) -> None:
    book.change(book.index("block", 1), lambda line: line["block"].update({field: value}))
    assert failing(book.verify()) == {BLOCKS: "device/service 2"}


@pytest.mark.parametrize(("field", "value"), [("hash", "00" * 32), ("position", 36)])
def test_an_edited_block_line_fails_in_blocks_alone(book: BookLines, field: str, value: object) -> None:
    book.change(book.index("block", 0), lambda line: line.update({field: value}))
    assert failing(book.verify()) == {BLOCKS: "device/service 1"}


def test_a_block_that_nobody_sealed_is_found(book: BookLines) -> None:
    at = book.index("block", 1)
    book.lines.insert(at + 2, book.lines[at].replace(b'"number":2', b'"number":3'))
    assert failing(book.verify()) == {BLOCKS: f"line {at + 3}"}


def test_a_sealed_root_that_is_not_the_trees_fails_in_blocks_alone(tmp_path: Path) -> None:
    ledger = open_ledger()
    lie = BlockSealed(number=1, previous="0" * 64, root="11" * 32, sealed_at=MORNING, size=ledger.edge.size)
    ledger.send(SERVICE, {f"device/{SERVICE}": [lie]})
    report = verify_file(write_book(ledger, tmp_path / "book.jsonl"))
    assert failing(report) == {BLOCKS: "device/service 1"}


# --- a ledger that does not keep its own rules ------------------------------------------------------


def lawless(tmp_path: Path, prepare: Callable[[MemoryLedger], None]) -> dict[str, str]:
    """What fails in the book of a ledger that signs whatever it recorded."""
    ledger = open_ledger()
    prepare(ledger)
    return failing(verify_file(write_book(ledger, tmp_path / "book.jsonl")))


def test_a_key_used_after_its_revocation_is_found_however_well_the_log_is_signed(tmp_path: Path) -> None:
    def prepare(ledger: MemoryLedger) -> None:
        before = ledger.registry
        ledger.send("gw-1", {"meter/m-1": readings(1, 3)})
        revoked = KeyRevoked(device="gw-1", key=DEVICES["gw-1"][1].public.id, reason="stolen")
        ledger.send(OPERATOR, {"registry": [revoked]})
        ledger.take(ledger.sealed("gw-1", {"meter/m-1": readings(3, 5)}), judged_by=before)

    assert lawless(tmp_path, prepare) == {SIGNATURES: "meter/m-1 3"}


def test_a_device_that_writes_to_a_meter_of_another_is_found(tmp_path: Path) -> None:
    def prepare(ledger: MemoryLedger) -> None:
        generous = ledger.registry.copy()
        generous.apply(MeterAssigned(meter="m-2", device="gw-1", since=MORNING))
        ledger.take(ledger.sealed("gw-1", {"meter/m-2": readings(1, 3)}), judged_by=generous)

    assert lawless(tmp_path, prepare) == {SIGNATURES: "meter/m-2 1"}


def test_a_reading_from_before_the_device_read_the_meter_is_found_at_its_sequence(tmp_path: Path) -> None:
    handed_over = MeterAssigned(meter="m-2", device="gw-1", since=MORNING + timedelta(hours=1))

    def prepare(ledger: MemoryLedger) -> None:
        ledger.send(OPERATOR, {"registry": [handed_over]})
        generous = ledger.registry.copy()
        generous.meters["m-2"] = Meter(generous.meters["m-2"].added, readers=[(MORNING, "gw-1")])
        mixed = [reading(5), reading(3), reading(6)]
        ledger.take(ledger.sealed("gw-1", {"meter/m-2": mixed}), judged_by=generous)

    assert lawless(tmp_path, prepare) == {SIGNATURES: "meter/m-2 2"}


def test_a_key_enrolled_without_its_owner_is_found(tmp_path: Path) -> None:
    stolen = enrolled("gw-7", "gateway", STRANGER_KEY)
    forged = msgspec.structs.replace(stolen, device="gw-8")

    def prepare(ledger: MemoryLedger) -> None:
        data = ledger.sealed(OPERATOR, {"registry": [forged]})
        ledger.registry.apply = lambda event: None  # type: ignore[method-assign] # it believes anything
        ledger.registry.copy = lambda: ledger.registry  # type: ignore[method-assign] # and keeps doing so
        ledger.take(data)

    assert lawless(tmp_path, prepare)[SIGNATURES] == "registry 14"


@pytest.mark.parametrize("last", [13, 11])
def test_an_envelope_that_repeats_events_otherwise_is_found(tmp_path: Path, last: int) -> None:
    """Beyond the head of the stream, and behind it beside something new, where it takes a second look."""
    other = changed(11, import_wh=1_002_751)
    ledger = open_ledger()
    ledger.send("gw-1", {"meter/m-1": readings(1, 11)})
    before = dict(ledger.heads)
    ledger.send("gw-1", {"meter/m-1": readings(11, 13)})
    again: dict[str, list[AnyEvent]] = {"meter/m-1": [other, *readings(12, last + 1)]}
    if last == 11:
        again = {"device/gw-1": [ALARM], **again}
    ledger.force(ledger.sealed("gw-1", again, heads=before))
    book = BookLines(write_book(ledger, tmp_path / "book.jsonl"))
    assert failing(book.verify())  # the store knows the first body only, which was not signed here
    said = encode(reading(11)).decode()
    at = book.index("envelope", -1)
    book.replace(at, said, encode(other).decode())
    assert failing(book.verify()) == {CHAINS: "meter/m-1 11"}


# --- plausibility -----------------------------------------------------------------------------------


def plausibility(tmp_path: Path, *events: MeterRead, before: list[AnyEvent] | None = None) -> list[str]:
    """What is odd about readings of m-1, sent one by one and again as one run; the book is verified."""
    told = []
    for number, groups in enumerate(([[event] for event in events], [list(events)])):
        ledger = open_ledger()
        if before:
            ledger.send(OPERATOR, {"registry": before})
        for group in groups:
            ledger.send("gw-1", {"meter/m-1": group})
        report = verify_file(write_book(ledger, tmp_path / f"{number}.jsonl"))
        assert report.verified
        verdict = report.verdicts[PLAUSIBILITY - 1]
        assert verdict.status == ("warnings" if verdict.findings else "pass")
        told.append([f"{finding.sequence}: {finding.what}" for finding in verdict.findings])
    assert told[0] == told[1]
    return told[0]


def changed(quarter: int, **fields: Any) -> MeterRead:
    return msgspec.structs.replace(reading(quarter), **fields)


def test_readings_that_follow_each_other_are_plausible(tmp_path: Path) -> None:
    assert plausibility(tmp_path, reading(1), reading(2), reading(9)) == []


@pytest.mark.parametrize(
    ("odd", "why"),
    [
        (changed(2, import_wh=1_000_000), "a register went back"),
        (changed(2, import_wh=0), "both registers fell to zero"),
        (changed(2, import_wh=1_000_250 + 21_701), "more energy than the connection can carry"),
        (changed(1, import_wh=1_000_251), "measured at the same instant as the reading before it"),
        (changed(0), "measured earlier than the reading before it"),
    ],
)
def test_an_implausible_reading_is_a_warning_and_the_book_is_verified_all_the_same(
    tmp_path: Path, odd: MeterRead, why: str
) -> None:
    assert plausibility(tmp_path, reading(1), odd)[0] == f"2: {why}"


def test_a_new_register_epoch_excuses_what_follows(tmp_path: Path) -> None:
    since = reading(2).measured_at
    opened = RegisterEpochOpened(meter="m-1", since=since, reason="replacement")
    zero = changed(2, import_wh=0)
    assert plausibility(tmp_path, reading(1), zero, changed(3, import_wh=5), before=[opened]) == []
    assert plausibility(tmp_path, reading(1), changed(1, import_wh=0), before=[opened]) != []


def test_another_serial_number_excuses_what_follows(tmp_path: Path) -> None:
    first, second = changed(1, serial="one"), changed(2, serial="two", import_wh=0)
    assert plausibility(tmp_path, first, second, changed(3, import_wh=7)) == []
    assert plausibility(tmp_path, first, changed(2), changed(3, serial="two", import_wh=0)) == []
    assert plausibility(tmp_path, first, changed(2, serial="one", import_wh=0)) != []


# --- how much is told -------------------------------------------------------------------------------


def test_the_first_thing_wrong_can_end_it(book: BookLines) -> None:
    book.change(book.run_index("meter/m-1", 4), lambda line: bodies(line)[3].update(import_wh=1))
    book.change(book.run_index("meter/m-2", 1), lambda line: bodies(line)[0].update(import_wh=1))
    report = book.verify(until_first=True)
    assert failing(report) == {CHAINS: "meter/m-1 4"}
    assert [verdict.status for verdict in report.verdicts].count("not checked") == 5
    assert book.verify().verdicts[2].found == 2


def test_findings_are_kept_up_to_a_bound_and_counted_beyond_it(tmp_path: Path) -> None:
    ledger = open_ledger()
    ledger.send("gw-1", {"meter/m-1": [changed(at, import_wh=at % 2) for at in range(1, 40)]})
    path = write_book(ledger, tmp_path / "book.jsonl")
    few, every = (verify_file(path, keep_all=keep).verdicts[PLAUSIBILITY - 1] for keep in (False, True))
    assert (few.found, every.found) == (19, 19)
    assert (len(few.findings), len(every.findings)) == (10, 19)


def test_progress_is_told_to_the_end(original: Path) -> None:
    told: list[tuple[int, int]] = []
    verify_file(original, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (44, 44)
