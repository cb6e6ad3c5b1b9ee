"""Whatever is changed in a book or an extract, by a bit, a byte or a line, is found, and a place is named."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ledger.verify import Report, verify_file
from tests.unit.ledger.memory_ledger import busy_ledger, write_book, write_extract

FILES = st.sampled_from(["book.jsonl", "m-1.jsonl", "m-2.jsonl"])
QUICKLY = settings(
    max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tamper")
    ledger = busy_ledger()
    write_book(ledger, folder / "book.jsonl")
    for meter in ("m-1", "m-2"):
        write_extract(ledger, meter, folder / f"{meter}.jsonl")
    return folder


def assert_found(folder: Path, data: bytes) -> Report:
    path = folder / "changed.jsonl"
    path.write_bytes(data)
    report = verify_file(path)
    findings = [finding for verdict in report.verdicts[:5] for finding in verdict.findings]
    assert not report.verified
    assert findings
    assert any(finding.line for finding in findings)
    return report


@QUICKLY
@given(name=FILES, data=st.data())
def test_any_flipped_bit_is_found(folder: Path, name: str, data: st.DataObject) -> None:
    book = bytearray((folder / name).read_bytes())
    bit = data.draw(st.integers(0, 8 * len(book) - 1))
    book[bit // 8] ^= 1 << bit % 8
    assert_found(folder, bytes(book))


@QUICKLY
@given(name=FILES, data=st.data())
def test_any_byte_put_in_left_out_or_replaced_is_found(folder: Path, name: str, data: st.DataObject) -> None:
    book = (folder / name).read_bytes()
    at = data.draw(st.integers(0, len(book)))
    kept = at + data.draw(st.integers(0, 3))
    put = data.draw(st.binary(max_size=3))
    changed = book[:at] + put + book[kept:]
    if changed != book:
        assert_found(folder, changed)


@QUICKLY
@given(name=FILES, data=st.data())
def test_of_a_file_that_ends_anywhere_before_its_end_no_step_has_passed(
    folder: Path, name: str, data: st.DataObject
) -> None:
    book = (folder / name).read_bytes()
    size = data.draw(st.integers(0, len(book) - 2))
    report = assert_found(folder, book[:size])
    assert {verdict.status for verdict in report.verdicts} <= {"fail", "not checked"}


@QUICKLY
@given(name=FILES, data=st.data())
def test_any_lines_left_out_doubled_or_moved_are_found(folder: Path, name: str, data: st.DataObject) -> None:
    lines = (folder / name).read_bytes().splitlines(keepends=True)
    places = st.integers(0, len(lines))
    begin, end = sorted(data.draw(st.tuples(places, places)))
    to = data.draw(places)
    part, rest = lines[begin:end], lines[:begin] + lines[end:]
    changed = data.draw(
        st.sampled_from(
            [
                rest,
                lines[:to] + part + lines[to:],
                rest[:to] + part + rest[to:],
                lines[:begin] + part[::-1] + lines[end:],
            ]
        )
    )
    if changed != lines:
        assert_found(folder, b"".join(changed))


@QUICKLY
@given(name=FILES, other=FILES, data=st.data())
def test_a_line_taken_from_another_file_is_found(
    folder: Path, name: str, other: str, data: st.DataObject
) -> None:
    lines, others = ((folder / each).read_bytes().splitlines(keepends=True) for each in (name, other))
    at = data.draw(st.integers(0, len(lines) - 1))
    line = data.draw(st.sampled_from(others))
    if line == lines[at] or hash_told(line) == hash_told(lines[at]) is not None:
        return  # the same event of the same log, with its body or without: both files tell the truth
    assert_found(folder, b"".join([*lines[:at], line, *lines[at + 1 :]]))


def hash_told(line: bytes) -> str | None:
    """The entry hash that a line of an extract tells, whether it shows the body or not."""
    content = msgspec.json.decode(line)
    entry = content.get("entry") or content.get("withheld") or {}
    return entry.get("hash")


@example(b"")
@example(b"\n")
@example(b'{"book":')
@given(st.binary(max_size=300))
def test_any_bytes_that_are_no_book_are_refused_and_none_breaks_the_reader(folder: Path, data: bytes) -> None:
    assert_found(folder, data)
