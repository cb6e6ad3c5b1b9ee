"""The auditor's commands: `energy-ledger export` and `energy-ledger verify`.

Verifying needs no server, no settings and no network, so what export needs is loaded only when it is used.
"""

from pathlib import Path

from ledger.command_line import DEFAULT_CONFIG, ConfigPath


def export(
    *, community: str = "", meter: str = "", out: Path | None = None, config: ConfigPath = DEFAULT_CONFIG
) -> None:
    """Write the book, or one meter's part of it, to a file that proves itself.

    The file appears when it is whole. It is JSON lines; one whose name ends in .gz is compressed.

    Parameters
    ----------
    community
        Whose book; by default the community of the settings file.
    meter
        Only this meter, with proofs: nobody else's readings are in the file.
    out
        The file; by default named after the community, the meter and the size of the book, in this folder.
    """
    from ledger.export_console import run_export  # noqa: PLC0415 - see the head

    run_export(community, meter, out, config)


def verify(
    file: Path,
    *,
    log_key: str = "",
    json: bool = False,
    until_first: bool = False,
    all: bool = False,
    strict: bool = False,
    workers: int = 0,
) -> None:
    """Verify an exported book or a meter's extract, with nothing but the file and the log's public key.

    Six steps, each with a verdict of its own: form, keys and signatures, chains, log, blocks, plausibility.
    A step that has not seen all of the file is not checked. Ends with an error unless all that proves has
    passed; implausible readings are warnings.

    Parameters
    ----------
    file
        What `energy-ledger export` wrote.
    log_key
        The log's verifier key that you trust, as name+id+base64. Without it the key that the book itself
        names is used, and shown for you to compare.
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
    from ledger.verify_console import run_verify  # noqa: PLC0415 - see the head

    run_verify(
        file,
        log_key,
        as_json=json,
        until_first=until_first,
        show_all=all,
        strict=strict,
        workers=workers,
    )
