"""One flipped bit in a copy of an exported book: what an auditor must find."""

import secrets
import shutil
from pathlib import Path

_FIELD = b'"import_wh":'


def flip_one_bit(book: Path, copy: Path) -> None:
    """Copy `book` to `copy` and change one digit of one reading in the middle of it, by one bit.

    The lowest bit of a digit other than the first is flipped, so that the file still reads like a book.
    """
    shutil.copyfile(book, copy)
    size = copy.stat().st_size
    with copy.open("r+b") as file:
        at = size // 3 + secrets.randbelow(size // 3)
        file.seek(at)
        chunk = file.read(1 << 20)
        found = chunk.index(_FIELD) + len(_FIELD)
        end = found
        while chunk[end : end + 1].isdigit():
            end += 1
        file.seek(at + end - 1)
        file.write(bytes([chunk[end - 1] ^ 1]))
