"""Every key of a book and from where to where it counts: a fold over the events that make and end keys.

It tells what the events say and judges nothing: whether an event may say so is the registry's to decide.
"""

import msgspec

from ledger.book_file import Key
from ledger.event import Event, Role
from ledger.events import CommunityOpened, KeyEnrolled, KeyRevoked, KeyRotated
from ledger.keys import key_id
from ledger.registry import OPERATOR, SERVICE


class KeyHistory:
    """The keys in order of enrolment."""

    def __init__(self) -> None:
        self.keys: list[Key] = []
        self._valid: dict[str, int] = {}
        self._roles: dict[str, Role] = {}

    def take(self, position: int, event: Event) -> None:
        """Take in the event at `position`; only those about keys change anything."""
        match event:
            case CommunityOpened():
                self._enrol(position, SERVICE, "service", event.service_key)
                self._enrol(position, OPERATOR, "operator", event.operator_key)
            case KeyEnrolled():
                self._enrol(position, event.device, event.role, event.public_key)
            case KeyRotated() if event.device in self._roles:
                self._end(position, event.device)
                self._enrol(position, event.device, self._roles[event.device], event.public_key)
            case KeyRevoked():
                self._end(position, event.device)
            case _:
                pass

    def _enrol(self, position: int, device: str, role: Role, public_key: str) -> None:
        self._valid[device], self._roles[device] = len(self.keys), role
        self.keys.append(
            Key(
                device=device,
                enrolled=position,
                id=key_id(bytes.fromhex(public_key)),
                public_key=public_key,
                role=role,
            )
        )

    def _end(self, position: int, device: str) -> None:
        index = self._valid.pop(device, None)
        if index is not None:
            self.keys[index] = msgspec.structs.replace(self.keys[index], ended=position)
