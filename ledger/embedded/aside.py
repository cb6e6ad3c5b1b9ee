"""Work in a process of its own: long arithmetic, which would keep all else in this one waiting."""

import asyncio
import sys

from ledger.errors import BadInput, Damaged

_PROGRAM = "import sys; sys.path[:] = {path!r}; from {module} import main; main()"
"""It finds its code where this process does."""


class TakesTooLong(BadInput):
    """Work that did not come to an end in its time."""

    code = "takes-too-long"


async def work_aside(module: str, given: bytes, seconds_max: float) -> bytes:
    """What `main` of a module writes to standard output, given `given` on standard input. The process ends
    with whoever waits for it. Raises `TakesTooLong`, and `Damaged` where it failed: the log says why."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _PROGRAM.format(path=sys.path, module=module),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(seconds_max):
            said, _ = await process.communicate(given)
    except TimeoutError as error:
        raise TakesTooLong(f"this did not come to an end in {seconds_max} s", hint="ask for less") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise Damaged("the work failed in its process", where=module, hint="the ledger's log says why")
    return said
