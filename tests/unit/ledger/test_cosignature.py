"""Cosignatures, byte for byte: OpenSSL's over C2SP's own example of a checkpoint, and what is none."""

from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest

from ledger.add_checkpoint import Offer, WitnessFailed, size_told, taken
from ledger.cosignature import (
    Cosignature,
    CosignatureInvalid,
    cosignature_of,
    cosigned_text,
    witness_key,
)
from ledger.keys import SigningKey, b64, unb64
from ledger.note import NoteError, Signature, Verifier

TEXT = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
LOG_LINE = (
    "— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nT"
    "o+zyWE+xeMcTOAYQ8=\n"
)
CHECKPOINT = f"{TEXT}\n{LOG_LINE}"
SECONDS = 1679315147
VKEY = "witness.example/w1+d7ec3267+BO2NXp96io5WwyFvQUEMfhRIAsqSo9DZ83HT1Nfgqy6k"
LINE = (
    "— witness.example/w1 1+wyZwAAAABkGFDLy+s1lA3ES49P9C6jL/DGmHI83blTUKa5XuMseXvc/4SZNjFvSqmk2tK6wDnhD+ZLpTN"
    "Xyaylk61299jgRmGGDw==\n"
)
"""printf 'cosignature/v1\\ntime 1679315147\\n..' signed by `openssl pkeyutl -sign -rawin` with the key whose
seed is the SHA-256 of the witness's name, behind key id and time."""
KEY = SigningKey(sha256(b"witness.example/w1").digest())
WITNESS = witness_key(VKEY)


def line(text: str = TEXT, seconds: int = SECONDS, key: SigningKey = KEY) -> str:
    made = seconds.to_bytes(8) + key.sign(cosigned_text(text, seconds))
    return str(Signature(WITNESS.name, WITNESS.id, made))


def test_a_cosignature_has_the_bytes_that_openssl_makes() -> None:
    assert cosigned_text(TEXT, SECONDS) == f"cosignature/v1\ntime 1679315147\n{TEXT}".encode()
    assert line() == LINE
    assert cosignature_of(CHECKPOINT + LINE, WITNESS) == Cosignature(LINE, SECONDS)


def test_a_witnesss_key_is_no_logs_key_and_the_other_way_round() -> None:
    assert str(WITNESS) == VKEY
    with pytest.raises(NoteError, match="not an Ed25519 verifier key"):
        Verifier.parse(VKEY)
    with pytest.raises(NoteError, match="not a witness's"):
        witness_key(str(Verifier("ledger.example/campus", KEY.public)))


def test_lines_of_other_keys_are_passed_over_and_the_newest_of_a_witness_counts() -> None:
    later = line(seconds=SECONDS + 1)
    assert cosignature_of(CHECKPOINT, WITNESS) is None
    assert cosignature_of(CHECKPOINT + LINE + later, WITNESS) == Cosignature(later, SECONDS + 1)
    other = witness_key(str(Verifier("witness.example/w2", KEY.public, b"\x04")))
    assert cosignature_of(CHECKPOINT + LINE, other) is None


@pytest.mark.parametrize(
    "wrong",
    [
        line(TEXT.replace("20852163", "20852164")),
        line(key=SigningKey(bytes(32))),
        str(Signature(WITNESS.name, WITNESS.id, KEY.sign(TEXT.encode()))),
        str(Signature(WITNESS.name, WITNESS.id, SECONDS.to_bytes(8) + KEY.sign(TEXT.encode()))),
        str(Signature(WITNESS.name, WITNESS.id, unb64(LINE.split(" ")[2].strip())[4:] + b"x")),
        line(seconds=2**63),
    ],
    ids=["another size", "another key", "no time", "a note's signature", "too long", "a time beyond all"],
)
def test_what_a_witness_did_not_sign_over_this_checkpoint_is_refused(wrong: str) -> None:
    with pytest.raises(CosignatureInvalid):
        cosignature_of(CHECKPOINT + wrong, WITNESS)


def test_what_is_posted_is_c2sps_request() -> None:
    offer = Offer(7, 20852163, [bytes(32), b"\x01" * 32], CHECKPOINT, datetime.now(UTC))
    proof = f"{b64(bytes(32))}\n{b64(bytes([1] * 32))}\n"
    assert offer.body() == f"old 7\n{proof}\n{CHECKPOINT}".encode()
    assert offer._replace(old=0, proof=[]).body() == f"old 0\n\n{CHECKPOINT}".encode()


def test_a_cosignature_is_made_after_the_checkpoint_and_before_now() -> None:
    made = datetime.fromtimestamp(SECONDS, UTC)
    offer = Offer(0, 20852163, [], CHECKPOINT, made)
    for recorded, now in ((0, 0), (10, 0), (-(10**6), 0), (0, 10**6), (0, -10)):
        at = offer._replace(recorded_at=made + timedelta(minutes=recorded))
        assert taken(at, LINE.encode(), WITNESS, made + timedelta(minutes=now)).seconds == SECONDS
    for recorded, now in ((11, 11), (-20, -11)):
        at = offer._replace(recorded_at=made + timedelta(minutes=recorded))
        with pytest.raises(CosignatureInvalid, match="of the future"):
            taken(at, LINE.encode(), WITNESS, made + timedelta(minutes=now))


def test_a_size_is_told_as_the_text_says_or_not_at_all() -> None:
    header = {"content-type": "text/x.tlog.size"}
    assert size_told(header, b"0\n", WITNESS) == 0
    assert size_told({"content-type": "Text/X.tlog.size; charset=utf-8"}, b"20852014\n", WITNESS) == 20852014
    for headers, body in (
        ({}, b"1\n"), (header, b""), (header, b"01\n"), (header, b"-1\n"), (header, b"1\n\n"),
        (header, b"9" * 20), (header, "\N{SUPERSCRIPT TWO}".encode()),
    ):  # fmt: skip
        with pytest.raises(WitnessFailed):
            size_told(headers, body, WITNESS)
