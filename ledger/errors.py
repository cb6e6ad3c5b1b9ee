"""Every failure a person or a program can meet, as a typed and coded error.

    LedgerError                 has a code, says what, where and what to do
    ├── BadInput                what came from outside does not fit; nothing was changed
    │   └── Contradiction       .. what the book says already
    ├── Unavailable             a part that is needed does not answer; trying again may help
    └── Damaged                 what is stored contradicts itself; a person must look

Packages derive their own errors from these three and give each a kebab-case `code`. The command line
maps the three branches to exit codes; an HTTP front maps them to status codes.
"""


class LedgerError(Exception):
    """Base of every error that is meant to be read.

    `what` says in plain words what is wrong, `where` names the place (a file and line, a stream and
    sequence, an address), `hint` says what the reader can do. No secret may be put into any of them.
    """

    code: str = "ledger-error"
    exit_code: int = 1

    def __init__(self, what: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.hint = hint

    def __reduce__(self) -> tuple[object, ...]:
        """Goes from process to process whole, whatever its class is made with."""
        return _again, (type(self), self.args), self.__dict__

    def __str__(self) -> str:
        place = f" ({self.where})" if self.where else ""
        return f"{self.code}: {self.what}{place}"

    def diagnostics(self) -> str:
        """The error as a person should see it: code and fact first, then where, then what to do."""
        lines = [f"{self.code}: {self.what}"]
        if self.where:
            lines.append(f"  where: {self.where}")
        if self.hint:
            lines.append(f"  what to do: {self.hint}")
        return "\n".join(lines)


def _again(kind: type[LedgerError], args: tuple[object, ...]) -> LedgerError:
    return kind.__new__(kind, *args)


class BadInput(LedgerError):
    """What came from outside does not fit. Nothing was changed."""

    code = "bad-input"
    exit_code = 2


class Contradiction(BadInput):
    """An event does not fit what the book already says."""

    code = "contradiction"


class Unavailable(LedgerError):
    """A part that is needed does not answer. Trying again may help."""

    code = "unavailable"
    exit_code = 3


class Damaged(LedgerError):
    """What is stored contradicts itself. A person must look before anything goes on."""

    code = "damaged"
    exit_code = 4
