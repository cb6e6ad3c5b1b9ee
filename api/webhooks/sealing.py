"""Addresses and secrets of webhooks as the store has them: sealed, since signing needs the secret itself."""

from datetime import datetime

import msgspec

from api.seal import Seal, SealBroken
from ledger.keys import SigningKey


class Sealed(msgspec.Struct, frozen=True):
    """Where a webhook is told, and by which secrets that is signed. `before` counts until `before_until`."""

    url: str
    secret: str
    before: str = ""
    before_until: datetime | None = None

    def held(self, now: datetime) -> list[str]:
        """The secrets that count, the newest first."""
        is_overlap = self.before_until is not None and now < self.before_until
        return [self.secret, self.before] if is_overlap else [self.secret]


class WebhookSeal:
    """Seals for one community."""

    def __init__(self, community: str, service: SigningKey) -> None:
        self._seal = Seal("webhook-seal", community, service)

    def close(self, webhook: str, what: Sealed) -> bytes:
        """What the store may have."""
        return self._seal.close(webhook, msgspec.json.encode(what))

    def open(self, webhook: str, sealed: bytes) -> Sealed:
        """What was sealed. Raises `SealBroken`."""
        try:
            return msgspec.json.decode(self._seal.open(webhook, sealed), type=Sealed)
        except SealBroken as error:
            raise SealBroken(
                "what is sealed for this webhook does not open",
                where=webhook,
                hint="was the service key replaced? then delete the webhook and make it anew",
            ) from error
