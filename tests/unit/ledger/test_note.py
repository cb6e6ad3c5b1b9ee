"""Notes, checkpoints and proof files are read in one way, and only when the expected key signed them."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.keys import PublicKey, SigningKey, b64
from ledger.merkle import EMPTY_ROOT
from ledger.note import (
    Checkpoint,
    InclusionProof,
    NoteError,
    Signature,
    Verifier,
    open_checkpoint,
    open_note,
    sign_note,
    split_note,
)

KEY, OTHER = SigningKey(bytes(32)), SigningKey(bytes([1]) * 32)
NAME = "ledger.example/campus"
VERIFIER = Verifier(NAME, KEY.public)
TEXT = "first line\n\nthird line, มิเตอร์\n"
NOTE = sign_note(TEXT, NAME, KEY)
LINE = NOTE.splitlines(keepends=True)[-1]


def signed_by(name: str, key: SigningKey, key_id: bytes, text: str = TEXT) -> str:
    """A signature line under any name and id."""
    return str(Signature(name, key_id, key.sign(text.encode())))


# --- notes -------------------------------------------------------------------------------------------


def test_a_note_is_opened_with_its_key() -> None:
    assert open_note(NOTE, VERIFIER) == TEXT
    assert split_note(NOTE) == (TEXT, [Signature(NAME, VERIFIER.id, KEY.sign(TEXT.encode()))])


@pytest.mark.parametrize(
    "stranger",
    [
        signed_by("other.example", OTHER, Verifier("other.example", OTHER.public).id),
        signed_by(NAME, OTHER, Verifier(NAME, OTHER.public).id),
        signed_by("other.example", OTHER, VERIFIER.id),
        signed_by("other.example", OTHER, b"\x00" * 4, "another text\n"),
        str(Signature("post-quantum.example", b"\x01\x02\x03\x04", bytes(2420))),
        str(Signature("short.example", b"\x01\x02\x03\x04", b"\x00")),
    ],
)
def test_signatures_of_unknown_keys_are_passed_over(stranger: str) -> None:
    # "Verifiers MUST ignore signatures from unknown keys, even if they share a name or ID (but not both)".
    assert open_note(NOTE + stranger, VERIFIER) == TEXT
    assert open_note(NOTE.replace(LINE, stranger + LINE), VERIFIER) == TEXT
    with pytest.raises(NoteError, match="no signature"):
        open_note(NOTE.replace(LINE, stranger), VERIFIER)


def test_a_wrong_signature_by_the_known_key_spoils_the_note() -> None:
    # "If a signature from a known key fails to verify, clients SHOULD reject the whole note."
    wrong = signed_by(NAME, OTHER, VERIFIER.id)
    for note in (NOTE + wrong, NOTE.replace(LINE, wrong + LINE), NOTE.replace(LINE, wrong)):
        with pytest.raises(NoteError, match="does not fit"):
            open_note(note, VERIFIER)


def test_no_changed_text_is_opened() -> None:
    for at in range(len(TEXT)):
        changed = NOTE[:at] + chr(ord(NOTE[at]) ^ 1) + NOTE[at + 1 :]
        with pytest.raises(NoteError):
            open_note(changed, VERIFIER)
    for changed in (f"\n{NOTE}", f" {NOTE}", NOTE.replace("first", "first "), f"{TEXT}{NOTE}"):
        with pytest.raises(NoteError):
            open_note(changed, VERIFIER)


MALFORMED = {
    "nothing": "",
    "no signature": TEXT,
    "no signature after the empty line": f"{TEXT}\n",
    "no empty line": TEXT.replace("\n\n", "\n") + LINE,
    "no newline at the end": NOTE[:-1],
    "an empty line at the end": f"{NOTE}\n",
    "text after the signatures": f"{NOTE}text\n",
    "lines ended as on Windows": NOTE.replace("\n", "\r\n"),
    "a tab": NOTE.replace("first line", "first\tline"),
    "a null": NOTE.replace("first line", "first\x00line"),
    "a hyphen for the dash": NOTE.replace("—", "-"),
    "an en dash": NOTE.replace("—", "–"),
    "no space after the dash": NOTE.replace("— ", "—"),
    "two spaces": NOTE.replace("— ", "—  "),
    "a no-break space": NOTE.replace("— ", "—\u00a0"),
    "a fourth word": NOTE[:-1] + " more\n",
    "no signature word": f"{TEXT}\n— {NAME}\n",
    "a plus in the name": NOTE.replace(NAME, "ledger+example"),
    "an ideographic space in the name": NOTE.replace(NAME, "ledger\u3000example"),
    "no name": NOTE.replace(NAME, ""),
    "not base64": f"{TEXT}\n— {NAME} !!!!\n",
    "base64 for URLs": f"{TEXT}\n— {NAME} {b64(bytes([255]) * 68).replace('/', '_')}\n",
    "base64 without padding": f"{TEXT}\n— {NAME} {b64(bytes(68)).rstrip('=')}\n",
    "a key id alone": f"{TEXT}\n— {NAME} {b64(VERIFIER.id)}\n",
    "an empty line between signatures": f"{NOTE}\n{LINE}extra\n",
}


@pytest.mark.parametrize("what", MALFORMED)
def test_a_malformed_note_is_refused(what: str) -> None:
    with pytest.raises(NoteError):
        split_note(MALFORMED[what])
    with pytest.raises(NoteError):
        open_note(MALFORMED[what], VERIFIER)


def test_signatures_and_size_have_a_limit() -> None:
    assert open_note(NOTE + LINE * 99, VERIFIER) == TEXT
    with pytest.raises(NoteError, match="more than 100"):
        split_note(NOTE + LINE * 100)
    with pytest.raises(NoteError):
        split_note("x" * 1_000_000 + NOTE)


# --- verifier keys -----------------------------------------------------------------------------------


def written(name: str, typed: bytes, key_id: str | None = None) -> str:
    """A verifier key with any type and id; the right one unless told."""
    public = PublicKey(typed[1:]) if len(typed) == 33 else KEY.public
    return f"{name}+{key_id or Verifier(name, public).id.hex()}+{b64(typed)}"


TYPED = b"\x01" + KEY.public.bytes


def test_a_verifier_key_is_read_as_it_was_written() -> None:
    read = Verifier.parse(str(VERIFIER))
    assert (read.name, read.key.bytes, read.id) == (NAME, KEY.public.bytes, VERIFIER.id)
    assert written(NAME, TYPED) == str(VERIFIER)


@pytest.mark.parametrize(
    "text",
    [
        "",
        NAME,
        f"{NAME}+{VERIFIER.id.hex()}",
        written(NAME, TYPED, "00000000"),
        written(NAME, TYPED, VERIFIER.id.hex().upper() + " "),
        written("other.example", TYPED, VERIFIER.id.hex()),
        written(NAME, b"\x04" + KEY.public.bytes),
        written(NAME, TYPED + b"\x00"),
        written(NAME, TYPED[:-1]),
        written(NAME, b""),
        written("", TYPED),
        written("a b", TYPED),
        written(NAME, TYPED) + "\n",
        f"{NAME}+{VERIFIER.id.hex()}+{b64(TYPED).rstrip('=')}!",
        # A point of small order: this one would accept a signature by anybody.
        f"{NAME}+{'0' * 8}+{b64(bytes([1]) + bytes(32))}",
    ],
)
def test_another_verifier_key_is_refused(text: str) -> None:
    with pytest.raises(NoteError):
        Verifier.parse(text)


# --- checkpoints -------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**19 - 1), st.binary(min_size=32, max_size=32))
def test_a_checkpoint_is_read_as_it_was_signed(size: int, root: bytes) -> None:
    checkpoint = Checkpoint(NAME, size, root)
    assert Checkpoint.parse(checkpoint.text()) == checkpoint
    assert open_checkpoint(checkpoint.sign(KEY), VERIFIER) == checkpoint


ROOT = b64(EMPTY_ROOT)


@pytest.mark.parametrize(
    "text",
    [
        "",
        f"{NAME}\n0\n",
        f"{NAME}\n0\n{ROOT}",
        f"{NAME}\n0\n{ROOT}\n\n",
        f"{NAME}\n0\n{ROOT}\nextension\n",
        f"\n{NAME}\n0\n{ROOT}\n",
        f"\n0\n{ROOT}\n",
        f"ledger example\n0\n{ROOT}\n",
        f"ledger+example\n0\n{ROOT}\n",
        f"{NAME}\n\n{ROOT}\n",
        f"{NAME}\n00\n{ROOT}\n",
        f"{NAME}\n01\n{ROOT}\n",
        f"{NAME}\n-1\n{ROOT}\n",
        f"{NAME}\n+1\n{ROOT}\n",
        f"{NAME}\n1.0\n{ROOT}\n",
        f"{NAME}\n 1\n{ROOT}\n",
        f"{NAME}\n1_0\n{ROOT}\n",
        f"{NAME}\n0x1\n{ROOT}\n",
        f"{NAME}\n١\n{ROOT}\n",
        f"{NAME}\n²\n{ROOT}\n",
        f"{NAME}\n1{'0' * 19}\n{ROOT}\n",
        f"{NAME}\n{'9' * 5_000}\n{ROOT}\n",
        f"{NAME}\n0\n\n",
        f"{NAME}\n0\n{ROOT[:-1]}\n",
        f"{NAME}\n0\n{b64(EMPTY_ROOT[:31])}\n",
        f"{NAME}\n0\n{b64(EMPTY_ROOT + b'x')}\n",
        f"{NAME}\n0\n{EMPTY_ROOT.hex()}\n",
        f"{NAME}\r\n0\r\n{ROOT}\r\n",
    ],
)
def test_another_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(NoteError):
        Checkpoint.parse(text)


def test_a_log_signs_for_its_own_origin_only() -> None:
    foreign = sign_note(Checkpoint("other.example", 0, EMPTY_ROOT).text(), NAME, KEY)
    with pytest.raises(NoteError, match=r"another log: other\.example"):
        open_checkpoint(foreign, VERIFIER)


# --- proof files -------------------------------------------------------------------------------------

CHECKPOINT = Checkpoint(NAME, 5, EMPTY_ROOT).sign(KEY)
HASH = b64(EMPTY_ROOT)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10**19 - 1),
    st.lists(st.binary(min_size=32, max_size=32), max_size=63),
    st.none() | st.binary(max_size=50),
)
def test_a_proof_file_is_read_as_it_was_written(index: int, path: list[bytes], extra: bytes | None) -> None:
    proof = InclusionProof(index, path, CHECKPOINT, extra)
    assert InclusionProof.parse(str(proof)) == proof


@pytest.mark.parametrize("hashes", [0, 1, 63])
def test_a_path_is_as_long_as_a_tree_can_be_high(hashes: int) -> None:
    proof = InclusionProof(0, [EMPTY_ROOT] * hashes, CHECKPOINT)
    assert len(InclusionProof.parse(str(proof)).path) == hashes


@pytest.mark.parametrize(
    "head",
    [
        "",
        "c2sp.org/tlog-proof@v2\nindex 0\n",
        "c2sp.org/tlog-proof@v1\n",
        "c2sp.org/tlog-proof@v1\nindex\n",
        "c2sp.org/tlog-proof@v1\nindex \n",
        "c2sp.org/tlog-proof@v1\nindex 00\n",
        "c2sp.org/tlog-proof@v1\nindex -1\n",
        "c2sp.org/tlog-proof@v1\nindex ١\n",
        f"c2sp.org/tlog-proof@v1\nindex {'9' * 5_000}\n",
        "c2sp.org/tlog-proof@v1\nIndex 0\n",
        "c2sp.org/tlog-proof@v1\nextra !\nindex 0\n",
        "c2sp.org/tlog-proof@v1\nextra eA==\nextra eA==\nindex 0\n",
        "c2sp.org/tlog-proof@v1\nindex 0\nextra eA==\n",
        "c2sp.org/tlog-proof@v1\nindex 0\nindex 0\n",
        f"c2sp.org/tlog-proof@v1\nindex 0\n{b64(b'short')}\n",
        f"c2sp.org/tlog-proof@v1\nindex 0\n{HASH[:-1]}\n",
        f"c2sp.org/tlog-proof@v1\nindex 0\n {HASH}\n",
        "c2sp.org/tlog-proof@v1\nindex 0\n" + f"{HASH}\n" * 64,
    ],
)
def test_another_proof_file_is_refused(head: str) -> None:
    with pytest.raises(NoteError):
        InclusionProof.parse(f"{head}\n{CHECKPOINT}")


# --- anything ------------------------------------------------------------------------------------------


def check(parse: Callable[[str], object], text: str) -> None:
    """`text` is read or refused, and what was read is written as it was."""
    try:
        read = parse(text)
    except NoteError:
        return
    assert str(read) == text or isinstance(read, tuple | str)


@settings(max_examples=150, deadline=None)
@given(
    st.text() | st.sampled_from([NOTE, CHECKPOINT, str(VERIFIER)]), st.text(max_size=3), st.integers(0, 400)
)
def test_any_text_is_read_or_refused_in_one_way(text: str, inserted: str, at: int) -> None:
    text = text[:at] + inserted + text[at:]
    for parse in (
        Verifier.parse,
        Checkpoint.parse,
        InclusionProof.parse,
        split_note,
        lambda note: open_checkpoint(note, VERIFIER),
    ):
        check(parse, text)
