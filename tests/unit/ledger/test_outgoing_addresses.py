"""Which addresses and URLs may be reached: a table of golden ones, and what holds for all."""

from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.outgoing.addresses import networks, objection, purpose_of
from ledger.outgoing.target import OutgoingRefused, target_of

LOOPBACK = networks(["127.0.0.0/8"])

REFUSED = {
    # what it is: addresses that are it, the first and last of a network among them
    "unspecified": ["0.0.0.0", "0.255.255.255", "::"],  # noqa: S104 - nobody binds to it here
    "private": [
        "10.0.0.0", "10.255.255.255", "172.16.0.0", "172.31.255.255", "192.168.0.0", "192.168.255.255",
        "fc00::", "fdff:ffff::1", "fec0::1",
    ],
    "loopback": ["127.0.0.0", "127.0.0.1", "127.255.255.255", "::1"],
    "link-local": ["169.254.0.0", "169.254.255.255", "fe80::1", "febf::1", "fe80::1%2"],
    "metadata": [
        "169.254.169.254", "169.254.170.2", "168.63.129.16", "100.100.100.200", "192.0.0.192",
        "fd00:ec2::254", "fd20:ce::254",
    ],
    "carrier": ["100.64.0.0", "100.127.255.255"],
    "protocols": ["192.0.0.0", "192.0.0.255", "2001:1::1", "2001:1ff:ffff::"],
    "documentation": [
        "192.0.2.1", "198.51.100.255", "203.0.113.0", "2001:db8::1", "2001:db8:ffff::", "3fff:0fff::1",
    ],
    "benchmarks": ["198.18.0.0", "198.19.255.255"],
    "multicast": ["224.0.0.0", "239.255.255.255", "ff02::1"],
    "reserved": ["240.0.0.0", "255.255.255.254", "4000::1", "5f00::1", "1fff::1", "101::"],
    "broadcast": ["255.255.255.255"],
    "an IPv4 address in IPv6": [
        "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:169.254.169.254", "::7f00:1", "::8.8.8.8",
    ],
    "NAT64": ["64:ff9b::7f00:1", "64:ff9b::8.8.8.8", "64:ff9b:1::a00:1"],
    "6to4": ["2002:7f00:1::", "2002:808:808::1", "192.88.99.1"],
    "Teredo": ["2001::1", "2001:0:ffff:ffff::"],
    "discarding": ["100::1"],
    "no address": ["", "localhost", "127.1", "0x7f.1", "010.0.0.1", "2130706433"],
}  # fmt: skip
PUBLIC = [
    "1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255",
    "128.0.0.0", "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.0.1.0",
    "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0", "223.255.255.255",
    "2606:4700:4700::1111", "2001:4860:4860::8888", "2001:200::1", "2003::1", "2a00::1", "2000::1",
]  # fmt: skip


@pytest.mark.parametrize(
    ("what", "address"), [(what, each) for what, listed in REFUSED.items() for each in listed]
)
def test_what_is_not_public_is_refused_and_told_as_what_it_is(what: str, address: str) -> None:
    assert what in objection(address, 443, is_tls=True)


@pytest.mark.parametrize("address", PUBLIC)
def test_what_is_public_may_be_reached_by_tls_only(address: str) -> None:
    assert not objection(address, 443, is_tls=True)
    assert not objection(address, 8443, is_tls=True)
    assert objection(address, 80, is_tls=False)
    assert objection(address, 443, is_tls=False)


@given(address=st.ip_addresses(), port=st.integers(1, 65_535), is_tls=st.booleans())
def test_nothing_is_reached_that_python_takes_for_special(
    address: IPv4Address | IPv6Address, port: int, is_tls: bool
) -> None:
    odd = (
        address.is_private, address.is_loopback, address.is_link_local, address.is_multicast,
        address.is_unspecified, address.is_reserved, not is_tls,
    )  # fmt: skip
    if any(odd):
        assert objection(str(address), port, is_tls=is_tls)
    assert bool(purpose_of(address)) <= bool(objection(str(address), port, is_tls=True))


@given(inside=st.ip_addresses(v=4), port=st.integers(1, 65_535))
def test_no_address_is_reached_through_one_that_carries_it(inside: IPv4Address, port: int) -> None:
    high, low = divmod(int(inside), 2**16)
    for carrier in ("::ffff:{0:x}:{1:x}", "64:ff9b::{0:x}:{1:x}", "2002:{0:x}:{1:x}::1", "::{0:x}:{1:x}"):
        assert objection(carrier.format(high, low), port, is_tls=True, allowed=networks(["0.0.0.0/0"]))


@given(address=st.ip_addresses(), port=st.integers(1, 65_535))
def test_what_the_operator_allows_is_reached_and_nothing_beside_it(
    address: IPv4Address | IPv6Address, port: int
) -> None:
    allowed = (ip_network(address),)
    assert not objection(str(address), port, is_tls=False, allowed=allowed)
    beside = str(address - 1 if int(address) else address + 1)
    assert objection(beside, port, is_tls=True, allowed=allowed) == objection(beside, port, is_tls=True)


def test_an_allowed_network_of_ipv4_says_nothing_of_ipv6() -> None:
    assert not objection("127.0.0.1", 80, is_tls=False, allowed=LOOPBACK)
    assert objection("::ffff:127.0.0.1", 80, is_tls=False, allowed=LOOPBACK)
    assert objection("::1", 80, is_tls=False, allowed=LOOPBACK)


@pytest.mark.parametrize("port", [1, 22, 25, 80, 445, 993, 1023])
def test_ports_of_other_protocols_are_refused(port: int) -> None:
    assert "protocol" in objection("8.8.8.8", port, is_tls=True)


@pytest.mark.parametrize("named", ["", "127.0.0.1/8", "300.0.0.0/8", "localhost"])
def test_what_is_no_network_is_told(named: str) -> None:
    with pytest.raises(ValueError, match="is no network"):
        networks([named])


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://Hooks.Example.org/a?b=c", "https://hooks.example.org"),
        ("https://hooks.example.org.:8443", "https://hooks.example.org:8443"),
        ("https://xn--h1aaa.example/", "https://xn--h1aaa.example"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
        ("https://[2606:4700::1111]/", "https://[2606:4700::1111]"),
        ("https://[::1]:8443/", "https://[::1]:8443"),
        ("https://a_b.example.org/", "https://a_b.example.org"),
    ],
)
def test_of_a_url_the_origin_is_shown(url: str, origin: str) -> None:
    target = target_of(url)
    assert target.origin == origin
    assert target.url == url


@pytest.mark.parametrize(
    "url",
    [
        "", "hooks.example.org", "//hooks.example.org/", "ftp://example.org/", "file:///etc/passwd",
        "https://", "https:///path", "https://user@example.org/", "https://user:secret@example.org/",
        "https://@example.org/", "https://example.org@127.0.0.1/", "https://example.org/#secret",
        "https://example.org/#", "https://example.org:0/", "https://example.org:99999/",
        "https://example.org:x/", "https://127.1/", "https://0x7f000001/", "https://2130706433/",
        "https://0177.0.0.1/", "https://127.0.0.1.nip.0x7f/", "https://[::1/", "https://[fe80::1%25eth0]/",
        "https://exa mple.org/", "https://example.org/\r\nHost: x", "https://example.org/\t", "https://é.org/",
        "https://example.org\\@127.0.0.1/", "https://example..org/", "https://-x.org/", "https://%6c.org/",
        "https://" + "a" * 64 + ".org/", "https://example.org/" + "a" * 2_000, "gopher://example.org/",
    ],
)  # fmt: skip
def test_what_is_no_plain_url_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(OutgoingRefused) as refused:
        target_of(url)
    for part in ("secret", "user", "passwd", "example..", "7f000001"):
        assert part not in refused.value.diagnostics().replace("a user or password", "")
