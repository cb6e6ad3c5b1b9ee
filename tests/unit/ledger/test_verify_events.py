"""A changed event or envelope is found, by the step that it concerns, at the place where it was done."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ledger.canonical import encode
from ledger.events import AnyEvent, KeyRevoked, MeterAssigned
from ledger.registry import OPERATOR, Meter
from ledger.verify import verify_file
from tests.unit.ledger.book_lines import BookLines, bodies, failing, rehash, resign
from tests.unit.ledger.campus import (
    ALARM,
    DEVICES,
    KEYS,
    MORNING,
    STRANGER_KEY,
    enrolled,
    reading,
    readings,
)
from tests.unit.ledger.memory_ledger import NEXT_KEY, MemoryLedger, open_ledger, write_book

FORM, SIGNATURES, CHAINS, LOG, BLOCKS = "form", "keys and signatures", "chains", "log", "blocks"


# --- one event -------------------------------------------------------------------------------------


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


# --- envelopes -------------------------------------------------------------------------------------


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
    for at, lines in book.mutilated():
        book.lines = lines
        found = failing(book.verify())
        assert found, at
        assert all(found.values())


# --- a ledger that does not keep its own rules -----------------------------------------------------


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
    other = msgspec.structs.replace(reading(11), import_wh=1_002_751)
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
