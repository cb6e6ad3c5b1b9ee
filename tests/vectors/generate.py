"""Writes the golden vectors of this folder, all but those of `book.json`, from fixed seeds.

It shares no code with the ledger: canonical JSON by `json.dumps`, hashes by `hashlib`, signatures by
`cryptography`, trees by the recursive definitions of RFC 9162 section 2.1. So what it writes and what the
ledger computes agree only where both follow the format.

    python -m tests.vectors.generate [folder]
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.vectors.receipts import receipt_vectors
from tests.vectors.scenario import registry_vectors, rotation_vectors
from tests.vectors.spelling import canonical_vectors
from tests.vectors.tree import tree_vectors

VECTORS: dict[str, Callable[[], dict[str, Any]]] = {
    "canonical.json": canonical_vectors,
    "tree.json": tree_vectors,
    "registry.json": registry_vectors,
    "rotation.json": rotation_vectors,
    "receipts.json": receipt_vectors,
}


def main(folder: Path) -> None:
    """Write every file of vectors into `folder`."""
    for name, vectors in VECTORS.items():
        (folder / name).write_text(json.dumps(vectors(), indent=1) + "\n", encoding="ascii")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
