"""The specifications' own examples. Each names its source."""

import json

import pytest

from ledger import canonical
from ledger.keys import PublicKey, SigningKey, unb64
from ledger.merkle import (
    EMPTY_ROOT,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    root_hash,
    subtree_of,
    verify_consistency,
    verify_inclusion,
)
from ledger.note import (
    Checkpoint,
    InclusionProof,
    Verifier,
    open_note,
    sign_note,
    split_note,
)
from ledger.tiles import Tile, TileMissing, index_path, parse_tile_path, tile_path, tile_width, tiles_of

# --- RFC 6962 and RFC 9162: Merkle trees -------------------------------------------------------------
# Source: the reference values of certificate-transparency (merkletree/merkle_tree_test.cc), kept on in
# transparency-dev/merkle (proof/verify_test.go). Leaves and sizes there count from 1.

LEAVES = [
    bytes.fromhex(leaf)
    for leaf in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
HASHES = [leaf_hash(leaf) for leaf in LEAVES]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
A, B, C, D, E, F, G = (
    "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
    "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
    "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
    "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
    "b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f",
)
INCLUSION = {
    (1, 1): [],
    (1, 8): [A, B, C],
    (6, 8): [D, E, ROOTS[4]],
    (3, 3): [ROOTS[2]],
    (2, 5): [ROOTS[1], B, D],
}
CONSISTENCY = {
    (1, 1): [],
    (1, 8): [A, B, C],
    (6, 8): [F, E, ROOTS[4]],
    (2, 5): [B, D],
    (6, 7): [F, G, ROOTS[4]],
}


@pytest.mark.parametrize("size", range(9))
def test_roots_of_certificate_transparency(size: int) -> None:
    assert root_hash(HASHES[:size]).hex() == ROOTS[size]


def test_the_empty_tree_hashes_the_empty_string() -> None:
    # RFC 9162 section 2.1.1: "The hash of an empty list is the hash of an empty string".
    assert EMPTY_ROOT.hex() == ROOTS[0]


@pytest.mark.parametrize(("leaf", "size"), INCLUSION)
def test_inclusion_proofs_of_certificate_transparency(leaf: int, size: int) -> None:
    proof = [bytes.fromhex(node) for node in INCLUSION[leaf, size]]
    assert inclusion_proof(subtree_of(HASHES), leaf - 1, size) == proof
    verify_inclusion(leaf - 1, size, HASHES[leaf - 1], proof, bytes.fromhex(ROOTS[size]))


@pytest.mark.parametrize(("first", "second"), CONSISTENCY)
def test_consistency_proofs_of_certificate_transparency(first: int, second: int) -> None:
    proof = [bytes.fromhex(node) for node in CONSISTENCY[first, second]]
    assert consistency_proof(subtree_of(HASHES), first, second) == proof
    verify_consistency(first, second, bytes.fromhex(ROOTS[first]), bytes.fromhex(ROOTS[second]), proof)


# RFC 9162 section 2.1.5 (RFC 6962 section 2.1.3): the tree of seven leaves d0..d6, grown 3, 4, 6, 7.
#
#              hash                                  k = (d0..d3), l = (d4..d6), i = (d4, d5), j = d6
#             /    \                                 g = (d0, d1), h = (d2, d3), a..f = d0..d5
#            k      l
#           / \    / \
#          g   h  i   j
#         / \ / \ / \ |
#         a b c d e f d6


def test_the_worked_example_of_seven_leaves() -> None:
    subtree = subtree_of(HASHES)
    a, b, c, d, e, f, j = HASHES[:7]
    g, h, i, k = subtree(1, 0), subtree(1, 1), subtree(1, 2), subtree(2, 0)
    l = root_hash(HASHES[4:7])  # noqa: E741 - the letter of the RFC's figure
    # "The inclusion proof for d0 is [b, h, l]", for d3 [c, g, l], for d4 [f, j, k], for d6 [i, k].
    assert inclusion_proof(subtree, 0, 7) == [b, h, l]
    assert inclusion_proof(subtree, 3, 7) == [c, g, l]
    assert inclusion_proof(subtree, 4, 7) == [f, j, k]
    assert inclusion_proof(subtree, 6, 7) == [i, k]
    # "The consistency proof between hash0 and hash is PROOF(3, D[7]) = [c, d, g, l]", 4: [l], 6: [i, j, k].
    assert consistency_proof(subtree, 3, 7) == [c, d, g, l]
    assert consistency_proof(subtree, 4, 7) == [l]
    assert consistency_proof(subtree, 6, 7) == [i, j, k]
    assert (a, e) == (HASHES[0], HASHES[4])


# --- RFC 8785: JSON Canonicalization Scheme ------------------------------------------------------------


def test_the_strings_and_literals_of_rfc_8785() -> None:
    # Section 3.2.2, without its line of floats; section 3.2.3 gives the result.
    given = (
        r"""{"string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/", """
        r""""literals": [null, true, false]}"""
    )
    expected = r"""{"literals":[null,true,false],"string":"€$\u000f\nA'B\"\\\\\"/"}""".encode()
    assert canonical.encode(json.loads(given)) == expected
    assert canonical.decode(expected) == json.loads(given)


def test_the_floats_of_rfc_8785_have_no_place_in_the_book() -> None:
    for number in (b"333333333.3333333", b"1e+30", b"4.5", b"0.002", b"1e-27"):
        with pytest.raises(canonical.Malformed):
            canonical.decode(number)


def test_the_sorting_of_rfc_8785() -> None:
    # Section 3.2.3: "\r" sorts before "1"; its other keys are beyond ASCII and refused here.
    assert canonical.encode({"1": "One", "\r": "Carriage Return"}) == b'{"\\r":"Carriage Return","1":"One"}'
    for key in ("ö", "€", "\u0080", "דּ", "\U0001f600"):
        with pytest.raises(canonical.Malformed):
            canonical.decode(json.dumps({key: 1}, ensure_ascii=False).encode())


def test_the_structures_of_the_reference_implementation() -> None:
    # cyberphone/json-canonicalization, testdata/input/structures.json, with 56 for its 56.0.
    value = {
        "1": {"f": {"f": "hi", "F": 5}, "\n": 56},
        "10": {},
        "": "empty",
        "a": {},
        "111": [{"e": "yes", "E": "no"}],
        "A": {},
    }
    assert canonical.encode(value) == (
        b'{"":"empty","1":{"\\n":56,"f":{"F":5,"f":"hi"}},"10":{},"111":[{"E":"no","e":"yes"}],"A":{},"a":{}}'
    )


def test_integers_stop_where_i_json_stops() -> None:
    # RFC 7493 section 2.2: beyond +-(2^53 - 1) a reader may lose precision.
    assert canonical.decode(b"9007199254740991") == 2**53 - 1
    with pytest.raises(canonical.Malformed):
        canonical.decode(b"9007199254740992")


# --- RFC 8032: Ed25519 ---------------------------------------------------------------------------------
# Section 7.1: secret key, public key, message, signature.

ED25519 = {
    "TEST 1": (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
        "d25bf5f0595bbe24655141438e7a100b",
    ),
    "TEST 2": (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c"
        "387b2eaeb4302aeeb00d291612bb0c00",
    ),
    "TEST 3": (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc659"
        "4a7c15e9716ed28dc027beceea1ec40a",
    ),
    "TEST SHA(abc)": (
        "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd"
        "454d4423643ce80e2a9ac94fa54ca49f",
        "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e030"
        "3dca179c138ac17ad9bef1177331a704",
    ),
}


@pytest.mark.parametrize("name", ED25519)
def test_the_signatures_of_rfc_8032(name: str) -> None:
    seed, public, message, signature = map(bytes.fromhex, ED25519[name])
    key = SigningKey(seed)
    assert key.public.bytes == public
    assert key.sign(message) == signature
    assert PublicKey(public).verifies(signature, message)
    assert not PublicKey(public).verifies(signature, message + b"\x00")


def test_a_signature_has_one_scalar() -> None:
    # RFC 8032 section 5.1.7: S must be below the group's order L; adding L once gave a second signature.
    order = 2**252 + 27742317777372353535851937790883648493
    _, public, message, signature = map(bytes.fromhex, ED25519["TEST 3"])
    scalar = int.from_bytes(signature[32:], "little") + order
    assert not PublicKey(public).verifies(signature[:32] + scalar.to_bytes(32, "little"), message)


# --- C2SP signed-note ----------------------------------------------------------------------------------
# The key and note of golang.org/x/mod/sumdb/note (note.go), where the format comes from.

PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETER_SEED = unb64("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
PETER_TEXT = (
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
)
PETER_NOTE = (
    f"{PETER_TEXT}\n— PeterNeumann "
    "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)


@pytest.mark.parametrize(
    "text",
    [
        PETER,
        # signed-note.md, section Verifier keys
        "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        # golang.org/x/mod: the key of the Go checksum database
        "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8",
        # transparency-dev/formats, note/note_cosigv1_test.go: a `+` within the base64
        "TEST+7997405c+AQcC+FTVKf0jlTdHDY3rbevmnKxxPjigCXlVtGe6RIr6",
    ],
)
def test_verifier_keys_of_others_are_read_and_written(text: str) -> None:
    assert str(Verifier.parse(text)) == text


def test_the_note_of_sumdb_is_opened_and_signed() -> None:
    assert open_note(PETER_NOTE, Verifier.parse(PETER)) == PETER_TEXT
    assert sign_note(PETER_TEXT, "PeterNeumann", SigningKey(PETER_SEED)) == PETER_NOTE


def test_the_poem_of_signed_note_is_split_at_its_last_empty_line() -> None:
    # signed-note.md: "The note text MAY contain empty lines".
    text, (signature,) = split_note(
        "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\ned è subito sera.\n\n"
        "— quasimodo.example/salvatore "
        "NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=\n"
    )
    assert text == (
        "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\ned è subito sera.\n"
    )
    assert signature.name == "quasimodo.example/salvatore"
    assert (signature.key_id.hex(), len(signature.signature)) == ("367ba04b", 64)


def test_at_least_16_signatures_are_accepted() -> None:
    # signed-note.md: verifiers "MUST accept at least up to 16 signatures".
    line = PETER_NOTE.splitlines(keepends=True)[-1]
    others = "".join(line.replace("PeterNeumann", f"other-{number}") for number in range(15))
    assert open_note(PETER_NOTE + others, Verifier.parse(PETER)) == PETER_TEXT


# --- C2SP tlog-checkpoint ------------------------------------------------------------------------------


def test_the_checkpoint_of_the_specification() -> None:
    text, (signature,) = split_note(
        "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
        "— example.com/behind-the-sofa "
        "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
    )
    checkpoint = Checkpoint.parse(text)
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20852163)
    assert checkpoint.root.hex() == "0ac5186a91863e8e1d90c808014aa89bf5da8e3ee1d9f07630f0378f68f1ab62"
    assert checkpoint.text() == text
    assert signature.name == checkpoint.origin


# --- C2SP tlog-proof -----------------------------------------------------------------------------------


def test_the_proof_of_the_specification() -> None:
    # tlog-proof.md; its checkpoint is shortened there, and is not looked into here.
    text = """\
c2sp.org/tlog-proof@v1
extra YWdlLXYxLjIuMS1kYXJ3aW4tYXJtNjQudGFyLmd6kYXJ3aW4tYXJ
index 73894
gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=
B95lDa8R83lS8n0eG+o0buTxRKQTYFi//1U8anccXmA=
EKNzoDWG8LGC0Yp9o+sv3qllpMP9uHQ9B20KNL+Q1zs=
RoopEkOdqkYqMB4MJXrbt/hMjOxsVn0IrWjpz1ZMMes=
AHCioX9nLjsrse6YhjRRmk1WUEirVOLLRoOQ6vfO5vk=

example.com/fancylog
109482
sFodV/vSp5O8n9a8QpW6PRY97tfOSW5bsc2Xl/EQi08=

— example.com/fancylog hI2DJw[...]1roloI=
"""
    proof = InclusionProof.parse(text)
    assert (proof.leaf_index, len(proof.path)) == (73894, 5)
    assert proof.extra is not None
    assert proof.extra.startswith(b"age-v1.2.1-darwin-arm64.tar.gz")
    assert str(proof) == text


# --- C2SP tlog-tiles -----------------------------------------------------------------------------------


def test_the_path_of_tile_1234067() -> None:
    # tlog-tiles.md: "index 1234067 will be encoded as x001/x234/067".
    assert index_path(1234067) == "x001/x234/067"
    assert parse_tile_path("tile/0/x001/x234/067") == (Tile(0, 1234067, 256), False)
    assert tile_path(Tile(0, 1234067, 256), entries=True) == "tile/entries/x001/x234/067"


def test_the_tiles_of_a_tree_of_70000() -> None:
    # tlog-tiles.md: 273 full level 0 tiles, one partial of width 112, one full level 1 tile, one partial
    # level 1 tile of width 17, and one partial level 2 tile of width 1.
    tiles = list(tiles_of(70_000))
    assert sum(tile.level == 0 and tile.width == 256 for tile in tiles) == 273
    assert tiles[273:] == [Tile(0, 273, 112), Tile(1, 0, 256), Tile(1, 1, 17), Tile(2, 0, 1)]


def test_the_tiles_of_a_tree_of_256() -> None:
    # tlog-tiles.md: "a full level 0 tile and a partial level 1 tile of width 1".
    assert list(tiles_of(256)) == [Tile(0, 0, 256), Tile(1, 0, 1)]


def test_empty_tiles_are_not_served() -> None:
    # tlog-tiles.md: "Empty tiles MUST NOT be served"; levels go from 0 to 63.
    assert tile_width(0, 1, 256) == 0
    for path in ("tile/0/001.p/0", "tile/0/001.p/256", "tile/64/000", "tile/00/000", "tile/0/x000/001"):
        with pytest.raises(TileMissing):
            parse_tile_path(path)
