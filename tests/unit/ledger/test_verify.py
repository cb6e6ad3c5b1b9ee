"""A book that nobody changed is verified; of one that somebody changed as much is told as was asked for."""

import gzip
from pathlib import Path

import msgspec
import pytest

from ledger.note import Verifier
from ledger.verify import lines, verify_file
from ledger.verify.plain import PlainReader
from ledger.verify.report import PLAUSIBILITY
from tests.unit.ledger.book_lines import BookLines, bodies, failing
from tests.unit.ledger.campus import KEYS, LOG_KEY, reading
from tests.unit.ledger.memory_ledger import NEXT_KEY, ORIGIN, open_ledger, write_book

FORM, CHAINS = "form", "chains"
PINNED = str(Verifier(ORIGIN, LOG_KEY.public))


# --- nothing was changed ---------------------------------------------------------------------------


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
    monkeypatch.setattr(lines, "CHUNK_BYTES", 2_000)
    assert verify_file(original, workers=2) == verify_file(original, workers=1)
    book.change(book.run_index("meter/m-1", 4), lambda line: bodies(line)[3].update(import_wh=1))
    path = book.write()
    path.write_bytes(path.read_bytes()[:-1])
    report = verify_file(path, workers=2)
    assert report == verify_file(path, workers=1)
    assert failing(report) == {FORM: f"line {len(book.lines)}", CHAINS: "meter/m-1 4"}


# --- how much is told ------------------------------------------------------------------------------


def test_the_first_thing_wrong_can_end_it(book: BookLines) -> None:
    book.change(book.run_index("meter/m-1", 4), lambda line: bodies(line)[3].update(import_wh=1))
    book.change(book.run_index("meter/m-2", 1), lambda line: bodies(line)[0].update(import_wh=1))
    report = book.verify(until_first=True)
    assert failing(report) == {CHAINS: "meter/m-1 4"}
    assert [verdict.status for verdict in report.verdicts].count("not checked") == 5
    assert book.verify().verdicts[2].found == 2


def test_findings_are_kept_up_to_a_bound_and_counted_beyond_it(tmp_path: Path) -> None:
    ledger = open_ledger()
    ledger.send(
        "gw-1", {"meter/m-1": [msgspec.structs.replace(reading(at), import_wh=at % 2) for at in range(1, 40)]}
    )
    path = write_book(ledger, tmp_path / "book.jsonl")
    few, every = (verify_file(path, keep_all=keep).verdicts[PLAUSIBILITY - 1] for keep in (False, True))
    assert (few.found, every.found) == (19, 19)
    assert (len(few.findings), len(every.findings)) == (10, 19)


def test_progress_is_told_to_the_end(original: Path) -> None:
    told: list[tuple[int, int]] = []
    verify_file(original, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (44, 44)
