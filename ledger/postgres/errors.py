"""What can go wrong at the store, in the ledger's own words."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from ledger.errors import BadInput, Damaged, LedgerError, Unavailable


class StoreUnavailable(Unavailable):
    """Postgres does not answer, or went away in the middle; what was under way may or may not be done."""

    code = "store-unavailable"


class StoreRefused(Damaged):
    """Postgres refused a statement: rights, constraints or a schema that is not the expected one."""

    code = "store-refused"


class StoreSettings(BadInput):
    """What the settings give as the address of the store is none."""

    code = "store-settings"


class Unstorable(BadInput):
    """A text has a character that Postgres keeps in none: NUL."""

    code = "unstorable-text"


class Conflict(LedgerError):
    """Somebody else appended to this community: read the state again and try anew."""

    code = "store-conflict"


@contextmanager
def translated() -> Iterator[None]:
    """Turn the library's errors into the ledger's. No statement's arguments are repeated in them."""
    try:
        yield
    except (
        OSError,
        TimeoutError,
        asyncio.IncompleteReadError,
        asyncpg.PostgresConnectionError,
        asyncpg.OperatorInterventionError,
        asyncpg.InsufficientResourcesError,
        asyncpg.CannotConnectNowError,
        asyncpg.ReadOnlySQLTransactionError,  # a standby, until it takes over
    ) as error:
        raise StoreUnavailable(
            f"Postgres does not answer: {type(error).__name__}",
            hint="is the server running, has it disk space?",
        ) from error
    except (
        asyncpg.SerializationError,
        asyncpg.DeadlockDetectedError,
        asyncpg.LockNotAvailableError,  # the database may have a lock_timeout
    ) as error:
        raise StoreUnavailable(f"Postgres asks to try again: {type(error).__name__}") from error
    except (asyncpg.CharacterNotInRepertoireError, asyncpg.UntranslatableCharacterError) as error:
        raise Unstorable("a text here has a character that cannot be stored", hint="is it NUL?") from error
    except asyncpg.PostgresError as error:
        raise StoreRefused(str(error.args[0]) if error.args else type(error).__name__) from error
    except (asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        raise StoreUnavailable(f"the connection is no longer usable: {error}") from error
