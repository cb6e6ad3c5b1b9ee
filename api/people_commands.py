"""`energy-ledger person`: who may log in to the API by a password."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from getpass import getpass
from pathlib import Path
from typing import Literal

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from api.access_commands import KeyUnfit
from api.passwords import Passwords
from ledger.clock import SystemClock
from ledger.command_line import DEFAULT_CONFIG, ConfigPath, environment, run
from ledger.errors import BadInput, Contradiction
from ledger.password import PasswordUnfit, new_password
from ledger.people import Person, new_person_id, person_name
from ledger.postgres.people import PeopleStore
from ledger.postgres.pool import Pool
from ledger.services import registry_of
from ledger.settings import FOREIGN_TABLES, Settings, read_toml, settings_from, with_servers
from settlement.known_building import check_building

out = Console(highlight=False, markup=False, soft_wrap=True)


class UnknownPerson(BadInput):
    """There is nobody of this name who may log in."""

    code = "unknown-person"


class PersonKnown(Contradiction):
    """Somebody of this name may log in already."""

    code = "person-known"


def add(
    name: str,
    role: Literal["building", "auditor", "billing", "operator"],
    *,
    building: str | None = None,
    password_file: Path | None = None,
    config: ConfigPath = DEFAULT_CONFIG,
) -> None:
    """Let somebody log in to the API. The password is asked for, and kept as a hash only.

    Parameters
    ----------
    name
        A login or an e-mail address.
    role
        building: its own intervals, trades, orders and invoices. auditor: the log and exports. billing: runs,
        invoices, journals. operator: everything of the community.
    building
        Whose person it is, for the role building.
    password_file
        A file whose first line is the password; without it one is asked for, or read from standard input
        where that is no terminal.
    """
    settings, known_as = _settings(config), person_name(name)
    if (role == "building") != (building is not None):
        raise KeyUnfit(
            "a person of the role building belongs to one"
            if role == "building"
            else f"the role {role} has no building",
            where="--building",
        )
    found, now = _password(password_file, known_as), SystemClock().now()

    async def added() -> None:
        if building is not None:
            check_building(building, (await registry_of(settings)).buildings)
        person = Person(
            new_person_id(),
            settings.community.id,
            known_as,
            role,
            building,
            Passwords().hashed(found),
            now,
            now,
        )
        async with _store(settings) as store:
            if not await store.add(person):
                raise PersonKnown(
                    "somebody of this name may log in already",
                    where=known_as,
                    hint="`energy-ledger person list`",
                )

    run(added())
    out.print(f"{known_as} may log in")


def people(*, config: ConfigPath = DEFAULT_CONFIG) -> None:
    """List who may log in to the API, and who might before."""
    settings = _settings(config)

    async def read() -> list[Person]:
        async with _store(settings) as store:
            return await store.people(settings.community.id)

    found = run(read())
    table = Table(box=SIMPLE_HEAD, padding=(0, 1))
    for heading in ("name", "role", "building", "id", "state", "password of"):
        table.add_column(heading, no_wrap=heading != "building", overflow="fold")
    for each in found:
        state = f"ended {each.ended_at:%Y-%m-%d}" if each.ended_at else "counts"
        table.add_row(
            each.name, each.role, each.building or "", each.id, state, f"{each.password_at:%Y-%m-%d}"
        )
    out.print(table if found else "nobody yet; `energy-ledger person add` lets somebody in")


def password(name: str, *, password_file: Path | None = None, config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Give somebody another password, such as one who has forgotten theirs. All their sessions end.

    Parameters
    ----------
    name
        The login or e-mail address.
    password_file
        A file whose first line is the password; without it one is asked for, or read from standard input
        where that is no terminal.
    """
    settings, known_as = _settings(config), person_name(name)
    found = _password(password_file, known_as)

    async def change() -> None:
        async with _store(settings) as store:
            person = await store.person(settings.community.id, known_as)
            hashed = Passwords().hashed(found)
            if person is None or not await store.change_password(person, hashed, SystemClock().now()):
                raise _unknown(known_as)

    run(change())
    out.print(f"{known_as} has another password; all sessions end")


def end(name: str, *, config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Let somebody log in no more. Their sessions end within seconds, and the name is free again.

    Parameters
    ----------
    name
        The login or e-mail address.
    """
    settings, known_as = _settings(config), person_name(name)

    async def ended() -> None:
        async with _store(settings) as store:
            if not await store.end(settings.community.id, known_as, SystemClock().now()):
                raise _unknown(known_as)

    run(ended())
    out.print(f"{known_as} may log in no more")


def _unknown(name: str) -> UnknownPerson:
    return UnknownPerson("nobody of this name may log in", where=name, hint="`energy-ledger person list`")


def _password(file: Path | None, name: str) -> str:
    """The password that was chosen, as it is hashed. Raises `PasswordUnfit`."""
    if file is not None:
        try:
            typed = file.read_text()
        except (OSError, ValueError) as error:
            raise PasswordUnfit(f"it cannot be read: {type(error).__name__}", where=str(file)) from error
        return new_password(typed.partition("\n")[0].removesuffix("\r"), name)
    if not sys.stdin.isatty():
        return new_password(sys.stdin.readline().rstrip("\r\n"), name)
    typed = getpass(f"Password of {name}: ")
    found = new_password(typed, name)
    if getpass("The same again: ") != typed:
        raise PasswordUnfit("the two were not the same")
    return found


@asynccontextmanager
async def _store(settings: Settings) -> AsyncIterator[PeopleStore]:
    pool = await Pool.open(settings.postgres, 1)
    try:
        yield PeopleStore(pool)
    finally:
        await pool.close()


def _settings(config: ConfigPath) -> Settings:
    return with_servers(settings_from(read_toml(config, environment()), config, FOREIGN_TABLES))
