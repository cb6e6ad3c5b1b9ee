"""What a person is told of a verification begins with whose file it is and ends with what to do."""

from pathlib import Path

import pytest

from ledger.note import Verifier
from ledger.verify.further import Found, NotJudged, Proven
from ledger.verify.report import Progress
from ledger.verify_console import NotVerified, run_verify
from tests.unit.ledger.book_lines import BookLines
from tests.unit.ledger.campus import STRANGER_KEY
from tests.unit.ledger.memory_ledger import ORIGIN, busy_ledger, write_extract


def verify(path: Path) -> None:
    run_verify(path, "", as_json=False, until_first=False, show_all=False, strict=False, workers=1)


def test_the_head_of_a_book_names_its_community(original: Path, capsys: pytest.CaptureFixture[str]) -> None:
    verify(original)
    head = capsys.readouterr().out.splitlines()[0]
    assert head.startswith(f"{original}: community campus, 44 events, ")


def test_the_head_of_an_extract_names_its_meter(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_extract(busy_ledger(), "m-1", tmp_path / "m-1.jsonl")
    verify(path)
    head = capsys.readouterr().out.splitlines()[0]
    assert head.startswith(f"{path}: meter m-1 of community campus, 16 readings among 34 events, ")


def test_a_file_that_was_cut_off_is_to_be_copied_again(
    book: BookLines, capsys: pytest.CaptureFixture[str]
) -> None:
    path = book.write()
    path.write_bytes(path.read_bytes()[:9_000])
    with pytest.raises(NotVerified, match="step 1, form") as told:
        verify(path)
    assert "copy it again" in told.value.hint
    assert " pass " not in capsys.readouterr().out


def test_what_failed_is_named_before_what_could_not_be_checked(book: BookLines) -> None:
    book.lines = [book.lines[0], book.lines[-1]]
    with pytest.raises(NotVerified, match="step 4, log"):
        verify(book.write())


class GivesUp:
    """A step of somebody else's that does not come to its end."""

    number, name = 7, "settlement"

    def run(self, book: Proven, found: Found, progress: Progress) -> str:
        raise NotJudged("too much work")


def test_a_step_that_gave_up_does_not_say_that_the_book_was_changed(original: Path) -> None:
    with pytest.raises(NotVerified, match="step 7, settlement: too much work") as told:
        run_verify(
            original, "", as_json=False, until_first=False, show_all=False, strict=False, workers=1,
            further=[GivesUp()],
        )  # fmt: skip
    assert told.value.hint.startswith("nothing was found to be wrong")


def test_who_brings_another_key_is_asked_first_whether_it_is_the_right_one(original: Path) -> None:
    other = str(Verifier(ORIGIN, STRANGER_KEY.public))
    with pytest.raises(NotVerified) as told:
        run_verify(original, other, as_json=False, until_first=False, show_all=False, strict=False, workers=1)
    assert told.value.hint.startswith("is this the log's key (--log-key)?")
