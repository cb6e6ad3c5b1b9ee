"""Names of subjects. A `.` in a name would make two tokens of it, so it is written `=`."""

STREAM = "ENVELOPES"
ALL_ENVELOPES = "ledger.*.envelopes.*"


def token(name: str) -> str:
    """The name of a community or device as one token of a subject."""
    return name.replace(".", "=")


def envelopes(community: str, device: str = "*") -> str:
    """Where `device` sends envelopes."""
    return f"ledger.{token(community)}.envelopes.{device if device == '*' else token(device)}"


def receipts(community: str, device: str = "*") -> str:
    """Where `device` is answered."""
    return f"ledger.{token(community)}.receipts.{token(device)}"


def heads(community: str, device: str = "*") -> str:
    """Where `device` asks for the heads of its streams."""
    return f"ledger.{token(community)}.heads.{device if device == '*' else token(device)}"


def seal(community: str) -> str:
    """Where a block is asked for."""
    return f"ledger.{token(community)}.seal.now"


def inbox(community: str, kind: str, name: str) -> str:
    """What the places begin with at which one user is answered what it asked for."""
    return f"ledger.{token(community)}.inbox.{kind}.{token(name)}"


def inboxes(community: str) -> str:
    """The places at which anybody of the community is answered."""
    return f"ledger.{token(community)}.inbox.>"


def durable(community: str) -> str:
    """The name of the consumer from which the community's writer takes."""
    return f"writer-{token(community)}"


def device_of(subject: str) -> str:
    """The device that a subject of this family ends with."""
    return subject.rpartition(".")[2].replace("=", ".")
