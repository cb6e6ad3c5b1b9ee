"""What can go wrong between a data folder and the server that should run in it.

BadInput
├── AccountMissing      there is no account that the server could run as
├── FolderClosed        the account that the server runs as cannot reach or own the folder
└── OtherVersion        the folder was made by another version of the server
Unavailable
├── ServerMissing       the server's programs are not on this machine
├── FolderInUse         another live process has the folder
├── PortInUse           the asked-for port is taken
├── StartFailed         the server ended or stayed silent while it was being started
└── CommandFailed       one of the server's own tools refused what it was asked to do
"""

from ledger.errors import BadInput, Unavailable


class AccountMissing(BadInput):
    """There is no account that the server could run as."""

    code = "account-missing"


class FolderClosed(BadInput):
    """The account that the server runs as cannot reach, read or own the folder."""

    code = "folder-closed"


class OtherVersion(BadInput):
    """The folder was made by a version of the server that this one cannot continue."""

    code = "other-server-version"


class ServerMissing(Unavailable):
    """The server's programs are not on this machine."""

    code = "server-missing"


class FolderInUse(Unavailable):
    """Another live process has the folder; `where` is the folder and the message names the pid."""

    code = "folder-in-use"


class PortInUse(Unavailable):
    """The port that was asked for is taken by another program."""

    code = "port-in-use"


class StartFailed(Unavailable):
    """The server ended, or did not become ready in time; the hint ends with its last log lines."""

    code = "server-start-failed"


class CommandFailed(Unavailable):
    """One of the server's own tools refused what it was asked to do; the hint has its words."""

    code = "server-command-failed"
