"""Every golden value is reproduced exactly, and the golden values are what their generator writes."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from ledger import canonical
from ledger.block import block_bytes, block_hash
from ledger.clock import parse_rfc3339
from ledger.entry import EMPTY, Head, chain, entry_bytes, entry_hash
from ledger.envelope import NewRun, RunHead, read_envelope, run_links, seal_envelope, signed_text
from ledger.errors import BadInput
from ledger.events import BlockSealed, read_bodies
from ledger.keys import PublicKey, SigningKey, b64, key_id, unb64
from ledger.merkle import (
    Frontier,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    root_hash,
    subtree_of,
    verify_consistency,
    verify_inclusion,
)
from ledger.note import Checkpoint, InclusionProof, Verifier, open_checkpoint
from ledger.receipt import read_receipt, sign_receipts
from ledger.registry import possession_text
from ledger.tiles import parse_tile_path, tile_path, tiles_of
from tests.unit.ledger.campus import Book
from tests.vectors import generate

FOLDER = Path(__file__).parent.parent / "vectors"


def vectors(name: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((FOLDER / name).read_text(encoding="utf-8"))
    return read


BOOK = vectors("book.json")
TREE = vectors("tree.json")
SPELLINGS = vectors("canonical.json")
RECEIPTS = vectors("receipts.json")
EVENTS = [(stream["stream"], event) for stream in BOOK["streams"] for event in stream["events"]]
LEAVES = [bytes.fromhex(event["entry_hash"]) for _, event in EVENTS]


# --- book.json -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("stream", "event"), EVENTS)
def test_an_entry_is_rebuilt_from_its_body(stream: str, event: dict[str, Any]) -> None:
    body = event["body"].encode()
    assert canonical.encode(canonical.decode(body)) == body
    assert canonical.encode(read_bodies([body])[0]) == body
    assert sha256(body).hexdigest() == event["body_sha256"]
    previous = bytes.fromhex(event["entry"].split("\n")[4])
    entry = entry_bytes("campus", stream, event["sequence"], previous, sha256(body).digest())
    assert entry == event["entry"].encode()
    assert entry_hash(entry).hex() == event["entry_hash"]
    assert leaf_hash(entry) == entry_hash(entry)


@pytest.mark.parametrize("stream", BOOK["streams"], ids=lambda stream: stream["stream"])
def test_a_chain_is_rebuilt_from_its_bodies(stream: dict[str, Any]) -> None:
    links = chain("campus", stream["stream"], EMPTY, [event["body"].encode() for event in stream["events"]])
    assert [(link.body_hash.hex(), link.entry_hash.hex()) for link in links] == [
        (event["body_sha256"], event["entry_hash"]) for event in stream["events"]
    ]


@pytest.mark.parametrize("owner", ["device", "log"])
def test_a_public_key_follows_from_its_seed(owner: str) -> None:
    key = SigningKey(bytes.fromhex(BOOK[owner]["private_seed_hex"]))
    assert key.public.bytes.hex() == BOOK[owner]["public_hex"]


def test_a_key_is_named_by_its_hash() -> None:
    assert key_id(bytes.fromhex(BOOK["device"]["public_hex"])) == BOOK["device"]["key"]


def test_the_envelope_is_sealed_byte_for_byte() -> None:
    key = SigningKey(bytes.fromhex(BOOK["device"]["private_seed_hex"]))
    runs = [
        NewRun(stream["stream"], EMPTY, [event["body"].encode() for event in stream["events"]])
        for stream in BOOK["streams"]
    ]
    envelope, heads = seal_envelope("campus", "gw-1", key, runs)
    assert envelope.decode() == BOOK["envelope"]["json"]
    assert heads == {
        stream["stream"]: Head(
            stream["events"][-1]["sequence"], bytes.fromhex(stream["events"][-1]["entry_hash"])
        )
        for stream in BOOK["streams"]
    }


def test_the_envelope_is_read_and_its_signature_fits_the_signed_text() -> None:
    envelope = read_envelope(BOOK["envelope"]["json"].encode())
    heads = [
        RunHead(run.stream, run.first, run.last, run_links("campus", run)[-1].entry_hash)
        for run in envelope.runs
    ]
    text = signed_text(envelope.community, envelope.device, heads)
    assert text.decode() == BOOK["envelope"]["signed_text"]
    assert envelope.signature == BOOK["envelope"]["signature"]
    public = PublicKey.from_hex(BOOK["device"]["public_hex"])
    assert envelope.key == public.id
    assert public.verifies(unb64(envelope.signature), text)


@pytest.mark.parametrize("size", range(5))
def test_the_roots_of_the_book(size: int) -> None:
    assert root_hash(LEAVES[:size]).hex() == BOOK["tree"]["roots_hex"][str(size)]


def test_the_proofs_of_the_book() -> None:
    subtree, tree = subtree_of(LEAVES), BOOK["tree"]
    assert [node.hex() for node in inclusion_proof(subtree, 2, 4)] == tree["inclusion_of_2_in_4_hex"]
    assert [node.hex() for node in consistency_proof(subtree, 2, 4)] == tree["consistency_2_to_4_hex"]
    assert [node.hex() for node in consistency_proof(subtree, 3, 4)] == tree["consistency_3_to_4_hex"]


def test_the_checkpoint_is_signed_and_opened() -> None:
    log = BOOK["log"]
    key = SigningKey(bytes.fromhex(log["private_seed_hex"]))
    verifier = Verifier(log["origin"], key.public)
    assert str(verifier) == log["verifier_key"]
    assert Verifier.parse(log["verifier_key"]).key.bytes == key.public.bytes
    checkpoint = Checkpoint(log["origin"], 4, root_hash(LEAVES))
    assert checkpoint.sign(key) == BOOK["checkpoint"]
    assert open_checkpoint(BOOK["checkpoint"], verifier) == checkpoint


def test_the_proof_file_is_written_read_and_verified() -> None:
    proof = InclusionProof(2, inclusion_proof(subtree_of(LEAVES), 2, 4), BOOK["checkpoint"])
    assert str(proof) == BOOK["tlog_proof"]
    read = InclusionProof.parse(BOOK["tlog_proof"])
    assert read == proof
    checkpoint = open_checkpoint(read.checkpoint, Verifier.parse(BOOK["log"]["verifier_key"]))
    verify_inclusion(read.leaf_index, checkpoint.size, LEAVES[2], read.path, checkpoint.root)


def test_the_block_is_hashed_from_its_bytes() -> None:
    block = json.loads(BOOK["block"]["bytes"])
    sealed = BlockSealed(
        number=block["number"],
        previous=block["previous"],
        root=block["root"],
        sealed_at=parse_rfc3339(block["sealed_at"]),
        size=block["size"],
    )
    assert block_bytes("campus", sealed).decode() == BOOK["block"]["bytes"]
    assert block_hash("campus", sealed) == BOOK["block"]["hash"]


# --- canonical.json --------------------------------------------------------------------------------


@pytest.mark.parametrize("case", SPELLINGS["accepted"], ids=lambda case: case["what"])
def test_a_value_has_one_canonical_spelling(case: dict[str, str]) -> None:
    value, expected = json.loads(case["input"]), case["canonical"].encode()
    assert canonical.encode(value) == expected
    assert canonical.decode(expected) == value
    if case["input"] != case["canonical"]:
        with pytest.raises(canonical.NotCanonical):
            canonical.decode(case["input"].encode())


@pytest.mark.parametrize("case", SPELLINGS["refused"], ids=lambda case: case["what"])
def test_what_is_not_canonical_is_refused_with_its_code(case: dict[str, str]) -> None:
    with pytest.raises(BadInput) as refused:
        canonical.decode(bytes.fromhex(case["hex"]))
    assert refused.value.code == case["code"]


# --- tree.json -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def leaves() -> list[bytes]:
    return [leaf_hash(str(index).encode()) for index in range(70_000)]


def test_the_roots_of_a_growing_tree(leaves: list[bytes]) -> None:
    tree = Frontier()
    for size, root in sorted((int(size), root) for size, root in TREE["roots"].items()):
        tree.extend(leaves[tree.size : size])
        assert tree.root().hex() == root
        assert size > 1000 or root_hash(leaves[:size]).hex() == root


def test_the_proofs_of_a_growing_tree(leaves: list[bytes]) -> None:
    subtree, roots = subtree_of(leaves), TREE["roots"]
    for case in TREE["inclusion"]:
        path = [bytes.fromhex(node) for node in case["path"]]
        assert inclusion_proof(subtree, case["index"], case["size"]) == path
        root = bytes.fromhex(roots[str(case["size"])])
        verify_inclusion(case["index"], case["size"], leaves[case["index"]], path, root)
    for case in TREE["consistency"]:
        path = [bytes.fromhex(node) for node in case["path"]]
        assert consistency_proof(subtree, case["first"], case["second"]) == path
        first, second = (bytes.fromhex(roots[str(case[end])]) for end in ("first", "second"))
        verify_consistency(case["first"], case["second"], first, second, path)


def test_the_tiles_of_a_growing_tree(leaves: list[bytes]) -> None:
    subtree = subtree_of(leaves)
    tiles = {tile_path(tile): tile for tile in tiles_of(70_000)}
    for case in TREE["tiles"]:
        tile = tiles[case["path"]]
        assert parse_tile_path(case["path"]) == (tile, False)
        first = tile.index * 256
        data = b"".join(subtree(8 * tile.level, index) for index in range(first, first + tile.width))
        assert sha256(data).hexdigest() == case["sha256"]


# --- registry.json and rotation.json ---------------------------------------------------------------


@pytest.mark.parametrize("name", ["registry.json", "rotation.json"])
def test_every_step_gets_its_answer(name: str) -> None:
    scenario = vectors(name)
    keys = {key["name"]: SigningKey(bytes.fromhex(key["private_seed_hex"])) for key in scenario["keys"]}
    book = Book(service=keys["service"].public, now=parse_rfc3339(scenario["now"]))
    for step in scenario["steps"]:
        assert book.answer(step["envelope"].encode()) == step["code"], step["what"]
    assert len(book.leaves) == scenario["tree"]["size"]
    assert root_hash(book.leaves).hex() == scenario["tree"]["root"]
    assert {
        name: {
            "role": device.role,
            "key": device.key.id if device.key else None,
            "former": sorted(device.former),
        }
        for name, device in book.registry.devices.items()
    } == scenario["devices"]


@pytest.mark.parametrize("name", ["registry.json", "rotation.json"])
def test_every_envelope_is_sealed_byte_for_byte(name: str) -> None:
    scenario = vectors(name)
    keys = {key["name"]: SigningKey(bytes.fromhex(key["private_seed_hex"])) for key in scenario["keys"]}
    for step in scenario["steps"]:
        events: dict[str, list[dict[str, Any]]] = {}
        for event in step["events"]:
            events.setdefault(event["stream"], []).append(event)
        runs = [
            NewRun(
                stream,
                Head(run[0]["sequence"] - 1, bytes.fromhex(run[0]["entry"].split("\n")[4])),
                [event["body"].encode() for event in run],
            )
            for stream, run in events.items()
        ]
        sealed, _ = seal_envelope(scenario["community"], step["device"], keys[step["signer"]], runs)
        assert sealed.decode() == step["envelope"]


def test_a_new_key_signs_its_possession() -> None:
    rotation = vectors("rotation.json")
    expected, keys = rotation["possession"], {key["name"]: key for key in rotation["keys"]}
    described = keys[expected["signer"]]
    text = possession_text("campus", "gw-1", described["public_hex"])
    assert text.decode() == expected["signed_text"]
    key = SigningKey(bytes.fromhex(described["private_seed_hex"]))
    assert b64(key.sign(text)) == expected["signature"]


# --- receipts.json ---------------------------------------------------------------------------------


def test_receipts_are_signed_and_read_byte_for_byte() -> None:
    key = SigningKey(bytes.fromhex(RECEIPTS["keys"][0]["private_seed_hex"]))
    answers = [read_receipt(receipt.encode(), "campus", key.public) for receipt in RECEIPTS["receipts"]]
    assert [canonical.encode(answer).decode() for answer in answers] == RECEIPTS["answers"]
    assert [receipt.decode() for receipt in sign_receipts("campus", answers, key)] == RECEIPTS["receipts"]


def test_the_receipts_signature_covers_the_root_over_the_answers() -> None:
    leaves = [leaf_hash(answer.encode()) for answer in RECEIPTS["answers"]]
    assert [leaf.hex() for leaf in leaves] == RECEIPTS["leaf_hashes_hex"]
    assert root_hash(leaves).hex() == RECEIPTS["root_hex"]
    public = PublicKey.from_hex(RECEIPTS["keys"][0]["public_hex"])
    assert public.verifies(unb64(RECEIPTS["signature"]), RECEIPTS["signed_text"].encode())


# --- all but book.json -----------------------------------------------------------------------------


def test_the_generator_writes_the_very_files(tmp_path: Path) -> None:
    generate.main(tmp_path)
    written = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert written == {name: (FOLDER / name).read_bytes() for name in generate.VECTORS}
