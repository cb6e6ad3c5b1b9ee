"""Signatures of webhooks, held against the specification's own example, OpenSSL, and what the API tells."""

import hmac
import subprocess
from base64 import b64decode, b64encode
from hashlib import sha256

import pytest

from api.http.openapi_webhooks import TOLD, signed_example, told_webhooks
from api.webhooks.signing import PREFIX, new_secret, signature, signed_headers
from ledger.canonical import decode
from ledger.webhooks import PING, TOPICS

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def by_openssl(secret: str, delivery: str, timestamp: str, body: bytes) -> str:
    key = b64decode(secret.removeprefix("whsec_")).hex()
    found = subprocess.run(
        ["openssl", "dgst", "-sha256", "-mac", "HMAC", "-macopt", f"hexkey:{key}", "-binary"],
        input=f"{delivery}.{timestamp}.".encode() + body, capture_output=True, check=True,
    )  # fmt: skip
    return b64encode(found.stdout).decode()


def test_a_signature_is_that_of_the_specifications_own_example() -> None:
    found = signature(SECRET, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert found == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_openssl_makes_the_same_signature() -> None:
    secret, body = new_secret(), '{"a":"\N{THAI CHARACTER KO KAI}"}'.encode()
    found = signature(secret, "msg_1", 1_700_000_000, body)
    assert found == f"v1,{by_openssl(secret, 'msg_1', '1700000000', body)}"


def test_a_secret_is_32_random_bytes_behind_its_prefix() -> None:
    one, two = new_secret(), new_secret()
    assert one != two
    assert len(b64decode(one.removeprefix(PREFIX), validate=True)) == 32
    with pytest.raises(ValueError, match="base64"):
        signature("whsec_?", "msg_1", 1, b"")


def test_while_a_secret_is_replaced_there_are_two_signatures() -> None:
    headers = signed_headers(["whsec_AAAA", "whsec_BBBB"], "msg_1", 7, b"x")
    one, two = headers["webhook-signature"].split(" ")
    assert (one, two) == (
        signature("whsec_AAAA", "msg_1", 7, b"x"),
        signature("whsec_BBBB", "msg_1", 7, b"x"),
    )
    assert headers["webhook-timestamp"] == "7"


@pytest.mark.parametrize("topic", [*TOPICS, PING])
def test_the_examples_that_the_api_tells_can_be_checked_by_a_receiver(topic: str) -> None:
    shown = signed_example(topic)
    body = shown["body"].encode()
    told = decode(body)  # it is canonical
    assert told["type"] == topic
    assert told.keys() == {"type", "timestamp", "data"}
    signed = f"{shown['webhook-id']}.{shown['webhook-timestamp']}.".encode() + body
    mac = hmac.new(b64decode(shown["secret"].removeprefix("whsec_")), signed, sha256).digest()
    assert shown["webhook-signature"] == f"v1,{b64encode(mac).decode()}"


def test_every_topic_is_described_with_the_shape_of_its_data() -> None:
    schemas: dict[str, object] = {}
    told = told_webhooks(schemas)
    assert told.keys() == TOLD.keys() == {*TOPICS, PING}
    for topic, item in told.items():
        content = item["post"]["requestBody"]["content"]["application/json"]
        assert content["schema"]["properties"]["type"] == {"const": topic}
        assert content["schema"]["properties"]["data"]["$ref"].rpartition("/")[2] in schemas
        assert content["example"]["type"] == topic
