"""Keys sign, are named and kept as anyone with OpenSSL would do it."""

import base64
import shutil
import stat
import subprocess
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed448, rsa, x25519
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from ledger.keys import KeyFile, PublicKey, SigningKey, b64, key_id, unb64

KEY = SigningKey(bytes(range(32)))
ORDER = 2**252 + 27742317777372353535851937790883648493


def test_a_key_is_named_by_the_first_8_bytes_of_its_hash() -> None:
    assert KEY.public.id == key_id(KEY.public.bytes) == sha256(KEY.public.bytes).hexdigest()[:16]


def test_a_signature_fits_its_message_and_key_only() -> None:
    signature = KEY.sign(b"message")
    assert KEY.public.verifies(signature, b"message")
    assert not KEY.public.verifies(signature, b"messagf")
    assert not SigningKey(bytes(32)).public.verifies(signature, b"message")
    for bit in (0, 7, 255, 256, 300, 511):
        flipped = bytearray(signature)
        flipped[bit // 8] ^= 1 << bit % 8
        assert not KEY.public.verifies(bytes(flipped), b"message")


@pytest.mark.parametrize("length", [0, 1, 63, 65, 66, 128])
def test_a_signature_of_another_length_does_not_fit(length: int) -> None:
    assert not KEY.public.verifies((KEY.sign(b"message") * 2)[:length], b"message")


def small_order_points() -> list[bytes]:
    """The points of small order, each with both signs and with every encoding that a reader might take."""
    prime = 2**255 - 19
    eighth = int.from_bytes(
        bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little"
    )
    ordinates = (0, 1, prime - 1, prime, prime + 1, eighth, prime - eighth)
    return [(ordinate | sign << 255).to_bytes(32, "little") for ordinate in ordinates for sign in (0, 1)]


@pytest.mark.parametrize("point", small_order_points(), ids=bytes.hex)
def test_a_key_that_any_signature_fits_is_no_key(point: bytes) -> None:
    with pytest.raises(ValueError, match="by anybody"):
        PublicKey(point)
    with pytest.raises(ValueError, match="by anybody"):
        PublicKey.from_hex(point.hex())


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_public_key_is_32_bytes(length: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        PublicKey(bytes(range(1, length + 1)))


@pytest.mark.parametrize(
    "text",
    [
        "",
        KEY.public.bytes.hex().upper(),
        f"{KEY.public.bytes.hex()}\n",
        f" {KEY.public.bytes.hex()}",
        KEY.public.bytes.hex()[:-2],
        f"{KEY.public.bytes.hex()}00",
        "zz" * 32,
    ],
)
def test_a_public_key_is_written_in_one_way(text: str) -> None:
    assert PublicKey.from_hex(KEY.public.bytes.hex()).bytes == KEY.public.bytes
    with pytest.raises(ValueError):
        PublicKey.from_hex(text)


@pytest.mark.parametrize("data", [b"", b"f", b"fo", b"foo", bytes(range(256))])
def test_base64_is_read_as_it_was_written(data: bytes) -> None:
    assert unb64(b64(data)) == data


@pytest.mark.parametrize(
    "text", ["Zg", "Zg=", "Zh==", "Zg==\n", " Zg==", "Zm9=", "_-8=", "Z===", "ก", "Zg==Zg=="]
)
def test_base64_has_one_spelling(text: str) -> None:
    with pytest.raises(ValueError, match=r"base64|ASCII"):
        unb64(text)


# --- files -------------------------------------------------------------------------------------------


def write(path: Path, data: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(data)
    path.chmod(mode)
    return path


def test_a_key_is_kept_for_its_owner_alone(tmp_path: Path) -> None:
    KEY.save(tmp_path / "key.pem")
    assert stat.S_IMODE((tmp_path / "key.pem").stat().st_mode) == 0o600
    assert SigningKey.load(tmp_path / "key.pem").public.bytes == KEY.public.bytes


def test_a_key_file_is_never_replaced(tmp_path: Path) -> None:
    KEY.save(tmp_path / "key.pem")
    with pytest.raises(KeyFile, match="exists"):
        SigningKey.generate().save(tmp_path / "key.pem")
    assert SigningKey.load(tmp_path / "key.pem").public.bytes == KEY.public.bytes


def test_a_key_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "home" / "keys" / "service.pem"
    first = SigningKey.load_or_create(path)
    assert SigningKey.load_or_create(path).public.bytes == first.public.bytes
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert SigningKey.load_or_create(tmp_path / "other.pem").public.bytes != first.public.bytes


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o601])
def test_a_key_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    KEY.save(tmp_path / "key.pem")
    (tmp_path / "key.pem").chmod(mode)
    with pytest.raises(KeyFile, match="others may read") as refused:
        SigningKey.load(tmp_path / "key.pem")
    assert "chmod 600" in refused.value.hint


def test_a_missing_key_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(KeyFile, match="no key file") as refused:
        SigningKey.load(tmp_path / "key.pem")
    assert str(tmp_path / "key.pem") in refused.value.where


def pem(key: ed448.Ed448PrivateKey | rsa.RSAPrivateKey | x25519.X25519PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.mark.parametrize(
    "data",
    [
        pem(rsa.generate_private_key(65537, 2048)),
        pem(ed448.Ed448PrivateKey.generate()),
        pem(x25519.X25519PrivateKey.generate()),
    ],
    ids=["rsa", "ed448", "x25519"],
)
def test_a_key_of_another_kind_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(KeyFile, match="not of the kind Ed25519"):
        SigningKey.load(write(tmp_path / "key.pem", data))


SECRET = b"MC4CAQAwBQYDK2VwBCIEIA"
"""What the base64 of every Ed25519 private key begins with."""

ENCRYPTED = Ed25519PrivateKey.generate().private_bytes(
    Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
)
UNKNOWN_KIND = (
    b"-----BEGIN PRIVATE KEY-----\n"
    + base64.b64encode(bytes.fromhex("300c020100300506032a03040400"))
    + b"\n-----END PRIVATE KEY-----\n"
)
SHORT = b"-----BEGIN PRIVATE KEY-----\n" + SECRET + b"\n-----END PRIVATE KEY-----\n"


@pytest.mark.parametrize(
    "data",
    [b"", b"no key", bytes(100), SHORT, ENCRYPTED, UNKNOWN_KIND],
    ids=["empty", "text", "zeros", "torn", "encrypted", "unknown kind"],
)
def test_what_holds_no_key_is_refused_without_quoting_it(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(KeyFile) as refused:
        SigningKey.load(write(tmp_path / "key.pem", data))
    assert SECRET.decode() not in refused.value.diagnostics()


def test_a_key_shows_its_public_half_only() -> None:
    assert repr(KEY) == f"SigningKey({KEY.public.id})"
    assert bytes(range(32)).hex() not in repr(vars(KEY.public))


def test_a_folder_is_no_key_file(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with pytest.raises(KeyFile, match="cannot be read"):
        SigningKey.load(tmp_path)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl on the PATH")
def test_openssl_makes_and_reads_our_keys_and_signatures(tmp_path: Path) -> None:
    private, public = tmp_path / "key.pem", tmp_path / "public.pem"
    text, signature = tmp_path / "text", tmp_path / "signature"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", private], check=True)
    private.chmod(0o600)
    key = SigningKey.load(private)
    text.write_bytes(b"message")
    signature.write_bytes(key.sign(b"message"))
    key.save(tmp_path / "copy.pem")
    subprocess.run(["openssl", "pkey", "-in", tmp_path / "copy.pem", "-pubout", "-out", public], check=True)
    check = ["openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", str(public), "-in", str(text)]
    checked = subprocess.run([*check, "-sigfile", str(signature)], check=False, capture_output=True)
    assert checked.returncode == 0, checked.stderr


def test_a_key_that_cannot_be_written_is_told_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(KeyFile) as caught:
        SigningKey.load_or_create(tmp_path / "file" / "service.pem")
    assert str(tmp_path / "file") in caught.value.where
