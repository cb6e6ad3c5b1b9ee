"""The auditor's command `energy-ledger verify`: the ledger's steps, then those of what follows from the book.

It needs no server, no settings and no network.
"""

from pathlib import Path

from ledger.arguments import Whole
from ledger.verify import FurtherStep
from settlement.replay.step import SettlementStep

FURTHER: tuple[FurtherStep, ...] = (SettlementStep(),)
"""The steps behind those of `ledger.verify`."""


def verify(
    file: Path,
    *,
    log_key: str = "",
    witness: tuple[str, ...] = (),
    json: bool = False,
    until_first: bool = False,
    all: bool = False,
    strict: bool = False,
    workers: Whole = 0,
) -> None:
    """Verify an exported book or a meter's extract, with nothing but the file and the log's public key.

    Seven steps, each with a verdict of its own: form, keys and signatures, chains, log, blocks, plausibility,
    settlement. A step that has not seen all that it is about is not checked. Ends with an error unless all
    that proves has passed; implausible readings are warnings.

    Parameters
    ----------
    file
        What `energy-ledger export` wrote.
    log_key
        The log's verifier key that you trust, as name+id+base64. Without it the key that the book itself
        names is used, and shown for you to compare.
    witness
        The verifier key of a witness that you trust: it must have cosigned the checkpoint, so that nobody is
        shown another book than it has seen. Can be given several times.
    json
        Print the report as JSON.
    until_first
        Stop at the first thing that proves the file wrong.
    all
        Name every finding, not only the first of each step.
    strict
        End with an error for implausible readings too.
    workers
        Processes to use; 0 for as many as are worth it.
    """
    from ledger.verify_console import run_verify  # noqa: PLC0415 - what shows a report is loaded for people only

    run_verify(
        file,
        log_key,
        as_json=json,
        until_first=until_first,
        show_all=all,
        strict=strict,
        workers=workers,
        further=FURTHER,
        witnesses=witness,
    )
