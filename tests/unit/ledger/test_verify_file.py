"""A file that is cut off, added to or no book at all is told from a whole one, and nothing is said to have
passed that was not seen."""

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ledger.book_file import LINE_BYTES_MAX, NoBookFile
from ledger.note import Verifier
from ledger.verify import Report, verify_file
from ledger.verify.lines import FileCut
from ledger.verify.state import State
from tests.unit.ledger.book_lines import BookLines, failing
from tests.unit.ledger.campus import STRANGER_KEY
from tests.unit.ledger.memory_ledger import ORIGIN, busy_ledger, write_extract

FORM, LOG = "form", "log"


def statuses(report: Report) -> list[str]:
    return [verdict.status for verdict in report.verdicts]


# --- cut off --------------------------------------------------------------------------------------


def test_a_truncated_file_is_never_verified(book: BookLines) -> None:
    whole = book.write().read_bytes()
    for size in (*range(0, len(whole), 997), len(whole) - 1, whole.rindex(b"\n", 0, -1) + 1):
        path = book.path.with_name("cut.jsonl")
        path.write_bytes(whole[:size])
        report = verify_file(path)
        assert not report.verified
        assert failing(report)[FORM].startswith(("line", "meter", "registry", "device"))


@pytest.mark.parametrize("kind", ["book", "extract"])
def test_of_a_truncated_file_no_step_says_that_it_has_passed(
    original: Path, tmp_path: Path, kind: str
) -> None:
    path = original if kind == "book" else write_extract(busy_ledger(), "m-1", tmp_path / "m-1.jsonl")
    whole = path.read_bytes()
    cut = tmp_path / "cut.jsonl"
    for size in (*range(0, len(whole) - 300, 499), whole.rindex(b"\n", 0, -1) + 1):
        cut.write_bytes(whole[:size])
        report = verify_file(cut)
        assert statuses(report) == ["fail"] + ["not checked"] * 5, size
        assert all(verdict.summary for verdict in report.verdicts)
        assert any("copy it again" in finding.hint for finding in report.verdicts[0].findings)


def test_how_much_was_seen_is_told(book: BookLines) -> None:
    del book.lines[book.run_index("meter/m-1", 9) :]
    assert book.verify().verdicts[2].summary == "the file shows 28 of 44 events"


def test_a_book_without_its_events_says_of_nothing_that_it_has_passed(book: BookLines) -> None:
    book.lines = [book.lines[0], book.lines[-1]]
    report = book.verify()
    assert not report.verified
    assert statuses(report) == ["pass", "not checked", "not checked", "fail", "not checked", "not checked"]


def test_an_event_that_cannot_be_read_leaves_open_what_it_says(book: BookLines) -> None:
    at = book.run_index("registry", 2)
    book.replace(at, "building-added/1", "building-added/9")
    report = book.verify()
    assert report.verdicts[0].status == "fail"
    assert "pass" not in (report.verdicts[1].status, report.verdicts[5].status)


def test_what_cannot_be_read_a_second_time_is_in_the_report(
    book: BookLines, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(state: State, path: Path) -> None:
        raise FileCut("the file cannot be read to its end")

    monkeypatch.setattr(State, "check_keys", broken)
    report = book.verify()
    assert statuses(report) == ["fail", "not checked", "not checked", "pass", "pass", "pass"]


# --- added to -------------------------------------------------------------------------------------


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


# --- the header -----------------------------------------------------------------------------------


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
    assert statuses(report) == ["fail"] + ["not checked"] * 5
    assert not report.verified


# --- no book at all -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "change", "what", "hint"),
    [
        ("book.jsonl", lambda book: b"", "is empty", "copy it again"),
        ("book.jsonl", lambda book: book.replace(b"\n", b"\r\n"), "line ends were changed", "as binary"),
        ("book.jsonl", lambda book: b"\xef\xbb\xbf" + book, "byte order mark", "as binary"),
        ("book.jsonl", lambda book: book.decode().encode("utf-16"), "byte order mark", "as binary"),
        ("book.jsonl", gzip.compress, "its name does not say so", ".gz"),
        ("book.jsonl.gz", lambda book: book, "not compressed as its name says", ".gz"),
        ("book.jsonl.gz", lambda book: gzip.compress(book)[:-9], "is cut off", "copy it again"),
        ("book.jsonl", lambda book: bytes(range(256)), "binary file", "energy-ledger export"),
        (
            "book.jsonl",
            lambda book: b'[community]\nid = "campus"\n',
            "no exported book",
            "energy-ledger export",
        ),
        ("book.jsonl", lambda book: book.partition(b"\n")[2], "first line of the book is missing", "copy"),
    ],
)
def test_of_a_file_that_is_no_book_is_said_what_it_is_and_what_to_do(
    original: Path, tmp_path: Path, name: str, change: Callable[[bytes], bytes], what: str, hint: str
) -> None:
    path = tmp_path / name
    path.write_bytes(change(original.read_bytes()))
    report = verify_file(path)
    assert statuses(report) == ["fail"] + ["not checked"] * 5
    (found,) = report.verdicts[0].findings
    assert what in found.what
    assert hint in found.hint


def test_what_is_no_file_is_refused_with_what_to_do(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, what, hint in (
        (tmp_path, "this is a folder", "the file in it"),
        (tmp_path / "pipe", "no regular file", "save it to a file"),
    ):
        with pytest.raises(NoBookFile, match=what) as refused:
            verify_file(path)
        assert hint in refused.value.hint
