"""The installer's commands: `energy-ledger meter scan`, `meter test`, `meter models` and `simulate`.

Only signatures and help live here, and each command imports its work when it is run, so that listing
the commands loads neither pymodbus nor rich.
"""

import asyncio
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from ledger.arguments import Whole

Unit = Annotated[Whole, Parameter(validator=Number(gte=0, lte=247))]
"""A serial line's unit addresses; what is above is reserved (Modbus over Serial Line 1.02, section 2.2)."""
Port = Annotated[Whole, Parameter(validator=Number(gte=1, lte=65_535))]
Count = Annotated[Whole, Parameter(validator=Number(gte=1, lte=1_000))]
Milliseconds = Annotated[Whole, Parameter(validator=Number(gte=0, lte=600_000))]


def scan(
    host: str,
    *,
    port: Port = 502,
    framer: Literal["tcp", "rtu"] = "tcp",
    units: str = "1-32",
    timeout_ms: Milliseconds = 300,
    max_seconds: Whole = 180,
    models: Path | None = None,
    json: bool = False,
) -> None:
    """Find the meters on a line and which models fit them.

    Parameters
    ----------
    host
        Name or address of the converter, gateway or meter.
    port
        Its TCP port.
    framer
        tcp for Modbus TCP, rtu for a converter that passes RS485 through.
    units
        Unit addresses to ask, such as 1-32 or 1,5,40-44.
    timeout_ms
        How long to wait for each answer.
    max_seconds
        Stop after so many seconds and tell which units were not asked.
    models
        A folder with further meter models.
    json
        Print the result as JSON.
    """
    from ingest.meter_console import run_scan  # noqa: PLC0415 - see the head

    asyncio.run(
        run_scan(
            host,
            port=port,
            framer=framer,
            units=units,
            timeout_ms=timeout_ms,
            seconds_max=max_seconds,
            folder=models,
            as_json=json,
        )
    )


def check(
    host: str,
    model: str,
    *,
    unit: Unit = 1,
    port: Port = 502,
    framer: Literal["tcp", "rtu"] = "tcp",
    ratio: tuple[str, ...] = (),
    times: Count = 5,
    interval_ms: Milliseconds = 2000,
    timeout_ms: Milliseconds = 1000,
    pause_ms: Milliseconds = 75,
    models: Path | None = None,
    json: bool = False,
) -> None:
    """Read one meter a few times and say whether its readings can be trusted.

    Ends with an error when the meter does not answer or when something is wrong with its readings.

    Parameters
    ----------
    host
        Name or address of the converter, gateway or meter.
    model
        The meter's model; `energy-ledger meter models` lists them.
    unit
        The meter's unit address.
    port
        TCP port of the line.
    framer
        tcp for Modbus TCP, rtu for a converter that passes RS485 through.
    ratio
        A transformer ratio that is known better than the meter knows it, such as ct=40.
    times
        How often to read.
    interval_ms
        Time between two readings.
    timeout_ms
        How long to wait for each answer.
    pause_ms
        Pause between two requests on the line.
    models
        A folder with further meter models.
    json
        Print the result as JSON.
    """
    from ingest.meter_console import run_test  # noqa: PLC0415 - see the head

    asyncio.run(
        run_test(
            host,
            model,
            unit=unit,
            port=port,
            framer=framer,
            ratios=ratio,
            times=times,
            interval_ms=interval_ms,
            timeout_ms=timeout_ms,
            pause_ms=pause_ms,
            folder=models,
            as_json=json,
        )
    )


test = check
"""The command's name. Linters take a function that is defined as `test` for a test."""


def models(*, folder: Path | None = None, json: bool = False) -> None:
    """List the meter models that are known, and how sure each map is.

    Parameters
    ----------
    folder
        A folder with further meter models.
    json
        Print the maps as JSON.
    """
    from ingest.meter_console import show_models  # noqa: PLC0415 - see the head

    show_models(folder, as_json=json)


def simulate(file: Path | None = None, *, models: Path | None = None, json: bool = False) -> None:
    """Be the meters described in a file, on real ports, until stopped.

    While it runs, each line of standard input is a command to a meter: `<port> <unit> <what>`, where
    what is a fault (timeout, late 400, exception 6, garbage, wrong-length, wrong-function, zero,
    drift 600), stuck, reset, replace <serial>, or ok to end the faults.

    Parameters
    ----------
    file
        The simulation, a TOML file. Without one it is ingest/simulator/example.toml, which serves the
        meters of the file that `init` writes.
    models
        A folder with further meter models.
    json
        Print the opened ports as one line of JSON.
    """
    from ingest.simulator.console import run_simulation  # noqa: PLC0415 - see the head

    asyncio.run(run_simulation(file, folder=models, as_json=json))
