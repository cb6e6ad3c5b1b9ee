"""A busy morning's book, for tests of what is found in it when it was changed."""

import shutil
from pathlib import Path

import pytest

from tests.unit.ledger.book_lines import BookLines
from tests.unit.ledger.memory_ledger import busy_ledger, write_book


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_book(busy_ledger(), tmp_path_factory.mktemp("book") / "book.jsonl")


@pytest.fixture
def book(original: Path, tmp_path: Path) -> BookLines:
    return BookLines(Path(shutil.copy(original, tmp_path)))
