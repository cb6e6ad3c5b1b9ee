"""Verification: a book is proven from nothing but its file and a public key.

No server, no database, no network, no clock. In steps, each with a verdict of its own:

1. Form: the lines and the bodies are canonical, their types are known.
2. Keys and signatures: each envelope is signed by the key that was valid at that point of the book, and its
   device may write to those streams. The keys that the file lists are those that its events tell of.
3. Chains: in every stream the sequence has no gap, each event names the entry hash before it, and each entry
   hash is that of its own stream, sequence, previous hash and body.
4. Log: the RFC 9162 tree over all entries has the root and the size that the checkpoint signs. The checkpoint
   is checked with the key that the auditor pins, or else with the one that the book names: then somebody
   could have written the whole file anew, and the key is printed for comparison. Where the auditor names
   witnesses, each must have cosigned the checkpoint.
5. Blocks: each sealed root is the tree's root at that size, and each block names the hash of the one before.
6. Plausibility: readings go forward in time, registers never go back, and no more energy flowed than the
   connection carries. This proves nothing and disproves nothing: an implausible reading is an authentic one.

Others may add steps of their own, which are run on a whole book that has passed (`ledger.verify.further`).

A verdict of these six never leans on another: a file can have true signatures and a broken log. After a
failure the reading goes on as far as it makes sense, and each failing verdict names its first bad place. A
step passes only if it has seen all that it is about: where the file ends early or cannot be read it is
`not checked`.

Memory is flat, also for a file that was made to fill it: `ledger.verify.state` tells what it depends on,
`FAULTS_MAX` after how much the reading is broken off, and `LINE_BYTES_MAX` how long a line may be.
"""

from ledger.verify.further import FurtherStep
from ledger.verify.report import STEPS, Finding, Report, Verdict
from ledger.verify.verification import verify_file

__all__ = ["STEPS", "Finding", "FurtherStep", "Report", "Verdict", "verify_file"]
