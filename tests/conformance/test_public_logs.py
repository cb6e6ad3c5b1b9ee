"""What public logs in operation have signed is read here as we would have ours read by others."""

import base64

import pytest

from ledger.keys import PublicKey
from ledger.merkle import ProofError, leaf_hash, verify_inclusion
from ledger.note import InclusionProof, NoteError, Verifier, open_checkpoint, open_note

REKOR_KEY = base64.b64decode("MCowBQYDK2VwAyEAt8rlp1knGwjfbcXAYPYAkn0XiLz1x8O4t0YkEhie244=")[-32:]
"""The Ed25519 key of log2025-1.rekor.sigstore.dev, as Sigstore's trusted root carries it."""

REKOR = Verifier("log2025-1.rekor.sigstore.dev", PublicKey(REKOR_KEY))

REKOR_PROOF = """\
c2sp.org/tlog-proof@v1
index 412114
KIoYVJ0TqmaEkFboP7YWTjSh8vFjVECmokcTOAByfIM=
Umf0h0cK2hegTzNnSgsXszyiA4bp5OvEvP+GrWq3C8w=
vNQeSNBfepYZI2Ez3ViKdCft0JH87ZS8IGKwixxUVjc=
JBAugd5awOqmHXIKgz1MOjlR5f37VqmP0bWoRVcHX5M=
xYH2mAxGxfOgvSOLnItT2LsJt+Z2a2egjf8QJFwK7jA=
PbZWM3NitzChx9A22m/kddDtzh2bAKX5Fy7j76l3z2k=
sKX9Sbsahvw5DiC2oP6pbZsDi1NzuNS1nIULXkCC57o=
pfTCxXHnCM253jwYxVJcuUhmoTTtDxznn92QhN0M4Ws=
cJ8uk2ZvZyfg+HRILKOHcyHu2pvI8Fz3R1MyMvyzWtA=

log2025-1.rekor.sigstore.dev
412115
+8vUkEgBK/ansexBUomzocaWoPEmPIzxJC/y+xNMQN4=

— log2025-1.rekor.sigstore.dev \
zxGZFahCZ/+MqTjH4rC5MWcdLDWbpetE5l30RZfQc4BQkRjWSoKipEUPjvHENeZDHIlAsuezJcLzUVvItpNjaSRoMAs=
"""

REKOR_ENTRY = (
    b'{"apiVersion":"0.0.2","kind":"hashedrekord","spec":{"hashedRekordV002":{"data":{"algorithm":"SHA2_256",'
    b'"digest":"5dJ2SakUeOXY4ut1hBHPomz+hTn6tc0KTzcGosA+epE="},"signature":{"content":"MEYCIQDcJO82nz1rrtu1DxS'
    b'pruX1ogJum8dl4IiGBMPz3jYcbgIhAKwQ8wNu1On8pYfhAJCK8OqT0OOGTh/yAQ+An/e3d/dU","verifier":{"keyDetails":"'
    b'PKIX_ECDSA_P256_SHA_256","publicKey":{"rawBytes":"MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE0q9Q+tdG195CXKfmUx'
    b'1YatvZ/mN3rhjpOfm1lvskWprH9Pxpe9Xc6LjEJbBcVPhutkfUvBB9RDk+42SNE6/5xg=="}}}}}}'
)


def test_the_signed_tree_of_the_go_checksum_database() -> None:
    # sum.golang.org, tree of 65,209,736 records; the key is pinned in every Go toolchain.
    verifier = Verifier.parse("sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8")
    note = (
        "go.sum database tree\n65209736\n5+uGFjx6xBZG8ip1+wi77v+grwbhhukIrxEUS8PXvRo=\n\n"
        "— sum.golang.org "
        "Az3grnbssgK7ubgFX36gVETtNv0U23qxyAhAMai2QUfeGa3nB/akvkMdlUErfcZz7l/R3cVtYspg3dxXABkGZZKdsQ8=\n"
    )
    assert open_note(note, verifier).startswith("go.sum database tree\n65209736\n")
    with pytest.raises(NoteError):
        open_note(note.replace("65209736", "65209737"), verifier)


def test_a_checkpoint_of_rekor_with_a_witness() -> None:
    # Sigstore's public log, 139,911,860 entries; the witness's line is of a type that is passed over.
    note = (
        "log2025-1.rekor.sigstore.dev\n139911860\nEliTHtnx44DhEBH+5qIXBtQsSpc54Avam7mIYEvxnTA=\n\n"
        "— log2025-1.rekor.sigstore.dev "
        "zxGZFcOra4Y7QpuiQen+CmnUvDZbxSXfBOXJzL+HKIeR9aC58QTfao58ABqkhVyBhQDseS+TZdDNpcnZhoRxkh7IbQ0=\n"
        "— witness.stagemole.eu "
        "Z/euoAAAAABqxF18wrJCADsJ1G5Lc2JaRjZqqBwjpNqH24yQse4iJ4rKS6b5MtvHP+IbKYXwaWuWokdGA+BubLFi+TrwK7xpKr6XBw==\n"
    )
    assert open_checkpoint(note, REKOR).size == 139_911_860
    with pytest.raises(NoteError):
        open_checkpoint(note.replace("139911860", "139911861"), REKOR)


def test_an_entry_of_rekor_is_proven_to_be_in_its_log() -> None:
    # Entry 412,114 of Sigstore's public log, as sigstore/sigstore-js keeps it in its tests.
    proof = InclusionProof.parse(REKOR_PROOF)
    assert str(proof) == REKOR_PROOF
    checkpoint = open_checkpoint(proof.checkpoint, REKOR)
    leaf = leaf_hash(REKOR_ENTRY)
    verify_inclusion(proof.leaf_index, checkpoint.size, leaf, proof.path, checkpoint.root)
    with pytest.raises(ProofError):
        verify_inclusion(proof.leaf_index - 1, checkpoint.size, leaf, proof.path, checkpoint.root)
