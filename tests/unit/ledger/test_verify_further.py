"""Steps of others: run when the proofs hold, with a verdict of their own in the same report."""

from pathlib import Path

import pytest

from ledger.verify import Report, verify_file
from ledger.verify.further import Found, NotJudged, Proven, entries
from ledger.verify.report import Place, Progress
from tests.unit.ledger.book_lines import BookLines
from tests.unit.ledger.memory_ledger import MemoryLedger, busy_ledger, write_book, write_extract


class Fussy:
    """A step that finds what it is told to find."""

    number, name = 7, "fuss"

    def __init__(self, *says: str, gives_up: str = "") -> None:
        self.says = says
        self.gives_up = gives_up
        self.ran = 0

    def run(self, book: Proven, found: Found, progress: Progress) -> str:
        self.ran += 1
        for what in self.says:
            found(what, Place(3, "registry", 2), "ask them")
        if self.gives_up:
            raise NotJudged(self.gives_up)
        return f"{book.size} events of {book.community}"


def report(path: Path, step: Fussy, *, until_first: bool = False) -> Report:
    return verify_file(path, further=[step], until_first=until_first)


def test_a_step_that_finds_nothing_tells_what_it_checked(original: Path) -> None:
    found = report(original, Fussy())
    last = found.verdicts[-1]
    assert (last.step, last.name, last.status, last.summary) == (7, "fuss", "pass", "44 events of campus")
    assert found.verified


def test_what_a_step_finds_fails_the_book_and_says_where(original: Path) -> None:
    found = report(original, Fussy("this", "that"))
    assert not found.verified
    assert (found.verdicts[-1].status, found.verdicts[-1].found) == ("fail", 2)
    (first, _) = found.verdicts[-1].findings
    assert (first.where, first.hint) == ("registry 2, line 3", "ask them")


def test_a_step_that_cannot_judge_leaves_the_book_unverified(original: Path) -> None:
    found = report(original, Fussy(gives_up="too dark"))
    assert (found.verdicts[-1].status, found.verdicts[-1].summary) == ("not checked", "too dark")
    assert not found.verified


def test_the_first_thing_is_enough_where_it_is_asked_for(original: Path) -> None:
    assert report(original, Fussy("this", "that"), until_first=True).verdicts[-1].found == 1


def test_a_step_is_not_run_on_a_file_that_proves_nothing(book: BookLines) -> None:
    book.replace(book.run_index("meter/m-1", 4), '"import_wh":1001000', '"import_wh":1001001')
    step = Fussy()
    found = report(book.write(), step)
    assert (step.ran, found.verdicts[-1].status) == (0, "not checked")
    (tmp := book.path.with_name("empty.jsonl")).write_bytes(b"")
    assert report(tmp, step).verdicts[-1].status == "not checked"


def test_an_extract_is_verified_without_it(tmp_path: Path) -> None:
    step = Fussy()
    found = report(write_extract(busy_ledger(), "m-1", tmp_path / "m-1.jsonl"), step)
    assert (step.ran, found.verdicts[-1].status, found.verified) == (0, "not checked", True)


@pytest.fixture
def ledger() -> MemoryLedger:
    return busy_ledger()


def test_the_entries_of_a_file_are_those_of_the_book_each_once(ledger: MemoryLedger, tmp_path: Path) -> None:
    path = write_book(ledger, tmp_path / "book.jsonl")
    rows = [((row.position, row.stream, row.sequence, row.body), row.entry_hash) for row in ledger.event_rows]
    assert [(entry.row, entry.hash) for entry in entries(path)] == rows


def test_one_stream_is_read_alone(ledger: MemoryLedger, tmp_path: Path) -> None:
    path = write_book(ledger, tmp_path / "book.jsonl")
    told = [(entry.row[2], entry.row[3]) for entry in entries(path, "meter/m-1")]
    assert told == [(row.sequence, row.body) for row in ledger.event_rows if row.stream == "meter/m-1"]
