"""The first line of a file: the header of a book, or what the file is instead and what to do about it."""

from collections.abc import Callable

from ledger.book_file import Header, HeaderLine, check_canonical, kind_of, parse_line
from ledger.canonical import Malformed, NotCanonical
from ledger.verify.lines import BookLines, FileCut
from ledger.verify.report import FORM, Findings, Place
from ledger.verify.state import words

_COPY_AS_BINARY = "copy the original again, as binary"
_COPY_AGAIN = "it was not copied whole: copy it again"
_NAME_AN_EXPORT = "name the file that `energy-ledger export` wrote"

_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")

_OTHERS: tuple[tuple[Callable[[bytes], bool], str, str], ...] = (
    (lambda line: not line, "the file is empty", _COPY_AGAIN),
    (
        lambda line: line.startswith(b"\x1f\x8b"),
        "the file is compressed and its name does not say so",
        "let its name end in .gz",
    ),
    (
        lambda line: line.startswith(_MARKS),
        "the file begins with a byte order mark: an editor or a shell has written it anew",
        _COPY_AS_BINARY,
    ),
    (
        lambda line: kind_of(line) == b"book" and line.endswith((b"\r\n", b"\r")),
        "the file's line ends were changed in transfer",
        _COPY_AS_BINARY,
    ),
    (lambda line: b"\0" in line, "this is a binary file, and no exported book", _NAME_AN_EXPORT),
    (lambda line: kind_of(line) not in (b"", b"book"), "the first line of the book is missing", _COPY_AGAIN),
    (lambda line: kind_of(line) != b"book", "this is no exported book", _NAME_AN_EXPORT),
)
"""What a file may be that is no book, in order, told by its first line."""


def read_header(book: BookLines, findings: Findings) -> Header | None:
    """The header. None, and a finding, where there is none: then nothing can be said of the rest."""
    try:
        data = book.next_line()
    except FileCut as error:
        findings.add(FORM, error.what, Place(1), error.hint)
        return None
    for applies, what, hint in _OTHERS:
        if applies(data):
            findings.add(FORM, what, Place(1), hint)
            return None
    try:
        line = parse_line(data.removesuffix(b"\n"))
        check_canonical(line, data.removesuffix(b"\n"))
    except (Malformed, NotCanonical) as error:
        findings.add(FORM, f"this is no header of a book: {words(error)}", Place(1))
        return None
    if isinstance(line, HeaderLine):
        of_meter = line.book.meter is not None
        if (line.book.scope == "meter") == of_meter == (line.book.events is not None):
            return line.book
    findings.add(FORM, "the header is neither that of a whole book nor that of a meter's extract", Place(1))
    return None
