"""Asking others over HTTP, against real servers on loopback: what is bounded, refused and never shown."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from ledger.errors import LedgerError
from ledger.outgoing.addresses import networks
from ledger.outgoing.door import Outgoing, OutgoingFailed, OutgoingTooLong, OutgoingTooSlow
from ledger.outgoing.target import OutgoingRefused
from tests.support.receiver import Received, Receiver, answer, receiving

LOOPBACK = networks(["127.0.0.0/8"])
SECRETS = ("T0KEN", "s3cret", "an answer of theirs")


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as found:
        yield found


def silent(error: LedgerError) -> bool:
    """Whether nothing of path, query, headers and answer is in the words of an error, nor behind it."""
    words = f"{error.diagnostics()} {error!r} {error.__cause__}"
    return not any(secret in words for secret in SECRETS) and error.__suppress_context__


async def test_an_answer_is_an_answer_whatever_its_status(receiver: Receiver) -> None:
    receiver.answering = answer(503, b"an answer of theirs", "Retry-After: 7", "Set-Cookie: a=b")
    found = await Outgoing(LOOPBACK).post(receiver.url, b"body", {"X-Mine": "s3cret"})
    assert (found.status, found.whole(), found.headers["retry-after"]) == (503, b"an answer of theirs", "7")
    (sent,) = receiver.received
    assert (sent.method, sent.path, sent.body) == ("POST", "/hooks/T0KEN", b"body")
    assert (sent.headers["x-mine"], sent.headers["user-agent"]) == ("s3cret", "energy-ledger")
    await Outgoing(LOOPBACK).get(receiver.url)
    assert receiver.received[1].method == "GET"
    assert "cookie" not in receiver.received[1].headers


async def test_loopback_is_refused_unless_the_operator_allows_it(receiver: Receiver) -> None:
    for url in (receiver.url, receiver.url.replace("http:", "https:")):
        for allowed in ((), networks(["10.0.0.0/8"])):
            with pytest.raises(OutgoingRefused) as refused:
                await Outgoing(allowed).post(f"{url}?key=s3cret", b"")
            assert silent(refused.value) or refused.value.__context__ is None
    assert receiver.connections == 0


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "::1", "10.0.0.1", "169.254.169.254", "::ffff:127.0.0.1", "64:ff9b::7f00:1"]
)
async def test_a_name_that_leads_inside_is_refused(receiver: Receiver, address: str) -> None:
    async def inside(host: str, port: int) -> Sequence[str]:
        return [address]

    with pytest.raises(OutgoingRefused) as refused:
        await Outgoing((), inside).post(f"https://hooks.example.org:{receiver.port}/T0KEN", b"")
    assert refused.value.where == f"https://hooks.example.org:{receiver.port}"
    assert refused.value.what.startswith("its address is")
    assert silent(refused.value)
    assert receiver.connections == 0


async def test_a_name_that_changes_where_it_leads_is_judged_each_time(receiver: Receiver) -> None:
    answers = iter([["127.0.0.1"], ["10.0.0.1"], ["127.0.0.1"]])

    async def rebinding(host: str, port: int) -> Sequence[str]:
        return next(answers)

    outgoing, url = Outgoing(LOOPBACK, rebinding), f"http://hooks.example.org:{receiver.port}/"
    assert (await outgoing.get(url)).status == 204
    with pytest.raises(OutgoingRefused, match="RFC 1918"):
        await outgoing.get(url)
    assert (await outgoing.get(url)).status == 204


async def test_of_several_addresses_only_those_that_may_be_reached_are(receiver: Receiver) -> None:
    async def both(host: str, port: int) -> Sequence[str]:
        return ["10.0.0.1", "::1", "127.0.0.1"]

    outgoing = Outgoing(LOOPBACK, both)
    assert (await outgoing.get(f"http://hooks.example.org:{receiver.port}/")).status == 204


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(receiver: Receiver, status: int) -> None:
    async with receiving() as inside:
        receiver.answering = answer(status, b"", f"Location: http://127.0.0.1:{inside.port}/")
        found = await Outgoing(LOOPBACK).post(receiver.url, b"body")
        assert (found.status, inside.connections) == (status, 0)


async def test_proxies_and_credentials_of_the_environment_do_not_count(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with receiving() as proxy:
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        netrc = tmp_path / "netrc"
        netrc.write_text("machine 127.0.0.1 login me password s3cret\n")
        monkeypatch.setenv("NETRC", str(netrc))
        await Outgoing(LOOPBACK).get(receiver.url)
        assert (len(receiver.received), proxy.connections) == (1, 0)
        assert "authorization" not in receiver.received[0].headers


async def test_who_does_not_answer_in_time_is_given_up(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledger.outgoing.door.TOTAL_SECONDS", 0.3)

    async def never(request: Received, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(5)

    async def drop_by_drop(request: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(100):
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.05)

    for answering in (never, drop_by_drop):
        receiver.answering = answering
        with pytest.raises(OutgoingTooSlow) as slow:
            await Outgoing(LOOPBACK).post(receiver.url, b"body")
        assert silent(slow.value)


async def test_no_more_of_an_answer_is_read_than_may_be(receiver: Receiver) -> None:
    sent = 0

    async def endless(request: Received, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while sent < 500_000_000:
            writer.write(b"10000\r\n" + bytes(65_536) + b"\r\n")
            await writer.drain()
            sent += 65_536

    receiver.answering = endless
    found = await Outgoing(LOOPBACK).get(receiver.url, bytes_max=100_000)
    assert (found.status, len(found.body)) == (200, 100_000)
    with pytest.raises(OutgoingTooLong):
        found.whole()
    await asyncio.sleep(0.1)
    assert sent < 50_000_000


async def test_an_answer_is_not_unpacked(receiver: Receiver) -> None:
    receiver.answering = answer(200, b"\x1f\x8b packed", "Content-Encoding: gzip")
    assert (await Outgoing(LOOPBACK).get(receiver.url)).body == b"\x1f\x8b packed"
    assert receiver.received[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"\x00\x01\x02", b"HTTP/9.9 xyz\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\n" + b"A: an answer of theirs\r\n" * 20_000, b"HTTP/1.1 " + b"2" * 100_000,
    ],
)  # fmt: skip
async def test_an_answer_that_is_none_is_a_failure(receiver: Receiver, raw: bytes) -> None:
    async def write(request: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        await writer.drain()

    receiver.answering = write
    with pytest.raises(OutgoingFailed) as failed:
        await Outgoing(LOOPBACK).post(f"{receiver.url}?key=s3cret", b"body")
    assert silent(failed.value)


async def test_who_is_not_there_is_told_so(receiver: Receiver) -> None:
    async def nobody(host: str, port: int) -> Sequence[str]:
        raise OSError("no T0KEN here")

    with pytest.raises(OutgoingFailed, match="nobody knows") as unknown:
        await Outgoing(LOOPBACK, nobody).post("https://hooks.example.org/T0KEN", b"")
    async with receiving() as gone:
        pass
    with pytest.raises(OutgoingFailed, match="cannot be connected") as closed:
        await Outgoing(LOOPBACK).post(gone.url, b"")
    assert silent(unknown.value)
    assert silent(closed.value)
    for headers in ({"X": "a\r\nb: s3cret"}, {"X\r\n": "s3cret"}):
        with pytest.raises(OutgoingFailed) as broken:
            await Outgoing(LOOPBACK).post(receiver.url, b"", headers)
        assert silent(broken.value)
    assert receiver.received == []


# --- TLS -----------------------------------------------------------------------------------------------


def certificate(folder: Path, address: str) -> Path:
    """A certificate of an address that vouches for itself, with its key."""
    key, now = Ed25519PrivateKey.generate(), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address(address))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, None)
    )
    path = folder / f"{address}.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(private + made.public_bytes(Encoding.PEM))
    return path


def tls_of(path: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


async def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    async with receiving(tls_of(certificate(tmp_path, "127.0.0.1"))) as found:
        with pytest.raises(OutgoingFailed, match="certificate") as refused:
            await Outgoing(LOOPBACK).post(found.url.replace("http", "https"), b"body")
        assert silent(refused.value)
        assert found.received == []


async def test_a_certificate_is_of_the_host_that_was_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, other = certificate(tmp_path, "127.0.0.1"), certificate(tmp_path, "127.0.0.2")
    for path, is_right in ((mine, True), (other, False)):
        monkeypatch.setenv("SSL_CERT_FILE", str(path))
        async with receiving(tls_of(path)) as found:
            url = found.url.replace("http", "https")
            if is_right:
                assert (await Outgoing(LOOPBACK).post(url, b"body")).status == 204
            else:
                with pytest.raises(OutgoingFailed, match="certificate"):
                    await Outgoing(LOOPBACK).post(url, b"body")
            assert len(found.received) == is_right


async def test_who_speaks_no_tls_is_told_so() -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(plain, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(OutgoingFailed, match="TLS") as failed:
            await Outgoing(LOOPBACK).post(f"https://127.0.0.1:{port}/T0KEN", b"body")
    assert silent(failed.value)
