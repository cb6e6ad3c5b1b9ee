"""How webhooks are signed: by the Standard Webhooks specification, version 1, symmetric.

    webhook-id          the delivery's id, the same for every try
    webhook-timestamp   seconds since 1970, of the try
    webhook-signature   v1,<base64 of HMAC-SHA256(secret, id "." timestamp "." body)>, perhaps several of them

A secret is `whsec_` and the base64 of 32 random bytes, which are the key. OpenSSL computes the same:

    key=$(printf %s "${secret#whsec_}" | base64 -d | od -An -v -tx1 | tr -d ' \\n')
    printf %s "$id.$timestamp.$body" | openssl dgst -sha256 -mac HMAC -macopt "hexkey:$key" -binary | base64
"""

import hmac
import secrets
from collections.abc import Mapping, Sequence
from hashlib import sha256

from ledger.keys import b64, unb64

PREFIX = "whsec_"
SECRET_BYTES = 32


def new_secret() -> str:
    """A secret that nobody has."""
    return PREFIX + b64(secrets.token_bytes(SECRET_BYTES))


def signature(secret: str, delivery: str, timestamp: int, body: bytes) -> str:
    """The signature of a try. Raises `ValueError` for what is no secret."""
    key = unb64(secret.removeprefix(PREFIX))
    return f"v1,{b64(hmac.digest(key, b'%b.%d.%b' % (delivery.encode(), timestamp, body), sha256))}"


def signed_headers(held: Sequence[str], delivery: str, timestamp: int, body: bytes) -> Mapping[str, str]:
    """The headers of a try, signed with each of the secrets that count: one, or two while one is replaced."""
    return {
        "Content-Type": "application/json",
        "webhook-id": delivery,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signature(secret, delivery, timestamp, body) for secret in held),
    }
