"""Vectors of one batch of receipts under one signature."""

from hashlib import sha256
from typing import Any

from tests.vectors.primitives import COMMUNITY, SERVICE, canonical, root_of


def receipt_vectors() -> dict[str, Any]:
    head = {"hash": sha256(b"head").hexdigest(), "sequence": 96, "stream": "meter/m-1"}
    common = {"community": COMMUNITY, "device": "gw-1", "recorded_at": "2026-06-01T00:15:02Z"}
    refusal = {"what": "the book ends at 96", "hint": "ส่งตั้งแต่ลำดับ 97", "sequence": 99, "stream": "meter/m-1"}
    answers = [
        common | {"code": code, "envelope": sha256(code.encode()).hexdigest(), "heads": [head]} | more
        for code, more in (("recorded", {}), ("duplicate", {}), ("sequence-gap", {"refusal": refusal}))
    ]
    texts = [canonical(answer) for answer in answers]
    leaves = [sha256(b"\x00" + text).digest() for text in texts]
    root = root_of(leaves)
    paths = [
        [leaves[1], leaves[2]],
        [leaves[0], leaves[2]],
        [sha256(b"\x01" + leaves[0] + leaves[1]).digest()],
    ]
    text = f"energy-ledger/receipts/v1\n{COMMUNITY}\n{len(leaves)}\n{root.hex()}\n"
    signature = SERVICE.sign(text.encode())
    return {
        "about": "One signature over three answers: the leaves SHA-256(0x00 || canonical JSON of the answer) "
        "of an RFC 9162 tree, whose root is in signed_text (energy-ledger/receipts/v1, community, number of "
        "receipts, root in hex). A receipt holds answer, index, audit path, size and that signature.",
        "keys": [SERVICE.described()],
        "answers": [text.decode() for text in texts],
        "leaf_hashes_hex": [node.hex() for node in leaves],
        "root_hex": root.hex(),
        "signer": SERVICE.name,
        "signed_text": text,
        "signature": signature,
        "receipts": [
            canonical(
                {
                    "answer": answer,
                    "index": index,
                    "path": [node.hex() for node in paths[index]],
                    "signature": signature,
                    "size": len(leaves),
                }
            ).decode()
            for index, answer in enumerate(answers)
        ],
    }
