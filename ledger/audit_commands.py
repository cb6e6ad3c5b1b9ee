"""What an auditor is given: `energy-ledger export`."""

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
    from ledger.export_console import run_export  # noqa: PLC0415 - a store's driver is loaded when it is used

    run_export(community, meter, out, config)
