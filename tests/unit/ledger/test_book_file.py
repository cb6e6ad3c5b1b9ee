"""A book file is canonical lines of known kinds, and appears whole or not at all."""

import gzip
from hashlib import sha256
from pathlib import Path

import pytest

from ledger.book_file import (
    BlockLine,
    HeaderLine,
    NoBookFile,
    check_canonical,
    kind_of,
    new_book,
    open_book,
    parse_line,
)
from ledger.canonical import Malformed, NotCanonical, encode
from tests.unit.ledger.memory_ledger import busy_ledger, write_book, write_extract


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_book(busy_ledger(), tmp_path_factory.mktemp("book") / "book.jsonl")


@pytest.fixture(scope="module")
def extract(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_extract(busy_ledger(), "m-1", tmp_path_factory.mktemp("extract") / "m-1.jsonl")


def test_every_line_is_canonical_and_says_what_it_is(book: Path, extract: Path) -> None:
    kinds = set()
    for data in book.read_bytes().splitlines() + extract.read_bytes().splitlines():
        line = parse_line(data)
        check_canonical(line, data)
        kinds.add(kind_of(data).decode())
    assert kinds == {"book", "key", "block", "envelope", "signed", "entry", "withheld", "checkpoint"}


def test_the_parts_of_a_book_stand_in_their_order(book: Path) -> None:
    kinds = [kind_of(data).decode() for data in book.read_bytes().splitlines()]
    assert kinds[0] == "book"
    assert kinds[-1] == "checkpoint"
    keys = kinds.count("key")
    assert set(kinds[1 : keys + 1]) == {"key"}
    assert set(kinds[keys + 1 : -1]) == {"envelope", "block"}


def test_a_block_can_be_cut_out_of_its_line_and_hashed(book: Path) -> None:
    for data in book.read_bytes().splitlines():
        if data.startswith(b'{"block":'):
            block = data[len(b'{"block":') : data.index(b',"hash"')]
            line = parse_line(data)
            assert isinstance(line, BlockLine)
            assert sha256(block).hexdigest() == line.hash


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"books":{}}', b'{"book":{}}', b'{"book":1', b"\xff"])
def test_what_is_no_line_is_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        parse_line(data)


def test_a_line_written_otherwise_is_not_canonical(book: Path) -> None:
    data = book.read_bytes().splitlines()[0].replace(b'"size":', b'"size": ')
    with pytest.raises(NotCanonical):
        check_canonical(parse_line(data), data)


def test_a_compressed_book_is_the_same_book_and_the_same_bytes_each_time(book: Path, tmp_path: Path) -> None:
    one, two = (write_book(busy_ledger(), tmp_path / name) for name in ("one.jsonl.gz", "two.jsonl.gz"))
    assert one.read_bytes() == two.read_bytes()
    assert gzip.decompress(one.read_bytes()) == book.read_bytes()
    with open_book(one) as file:
        assert file.read() == book.read_bytes()


def test_a_book_that_fails_on_the_way_leaves_nothing_behind(tmp_path: Path) -> None:
    class Broken(Exception):
        pass

    path = tmp_path / "book.jsonl"
    path.write_text("the older book\n")
    line = parse_line(
        b'{"book":{"community":"c","format":"energy-ledger-book/1","log_key":"","scope":"community","size":1}}'
    )
    assert isinstance(line, HeaderLine)

    def break_off() -> None:
        with new_book(path) as write:
            write(line)
            raise Broken

    with pytest.raises(Broken):
        break_off()
    assert path.read_text() == "the older book\n"
    assert [each.name for each in tmp_path.iterdir()] == ["book.jsonl"]
    with new_book(path) as write:
        write(line)
    assert path.read_bytes() == encode(line) + b"\n"
    assert [each.name for each in tmp_path.iterdir()] == ["book.jsonl"]


def test_a_file_that_cannot_be_opened_or_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(NoBookFile, match="nowhere"):
        open_book(tmp_path / "nowhere")
    with pytest.raises(NoBookFile, match="nowhere"), new_book(tmp_path / "nowhere" / "book.jsonl"):
        pass
