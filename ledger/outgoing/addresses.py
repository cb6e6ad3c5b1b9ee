"""Which addresses may be reached: who names a URL to the ledger must not reach what only the ledger can.

Only what is reachable from everywhere is allowed. Of IPv6 that is what lies in 2000::/3 and is not listed
below, so what gets a purpose one day is refused until it is known here. Networks that carry an IPv4 address
inside (mapped, NAT64, 6to4, Teredo) are refused as a whole, whatever they carry.

Sources: the IANA special-purpose address registries (RFC 6890 and its updates) for IPv4 and IPv6; metadata
services by their vendors' documentation. A table of our own and not `ipaddress.is_global`, whose answer has
changed between releases of Python.
"""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network

METADATA = "a cloud's metadata service"
PORT_TLS = 443
PORT_UNPRIVILEGED_MIN = 1024
"""Below it listen mail, shells and their like, which a request could be made to talk to."""

_V4 = {
    "169.254.169.254/32": METADATA,
    "169.254.170.2/32": METADATA,  # AWS, of containers
    "168.63.129.16/32": METADATA,  # Azure's, in a range that is otherwise public
    "100.100.100.200/32": METADATA,  # Alibaba's
    "192.0.0.192/32": METADATA,  # Oracle's
    "0.0.0.0/8": "unspecified (RFC 791)",
    "10.0.0.0/8": "private (RFC 1918)",
    "100.64.0.0/10": "shared by a carrier's customers (RFC 6598)",
    "127.0.0.0/8": "loopback (RFC 1122)",
    "169.254.0.0/16": "link-local (RFC 3927)",
    "172.16.0.0/12": "private (RFC 1918)",
    "192.0.0.0/24": "for protocols (RFC 6890)",
    "192.0.2.0/24": "for documentation (RFC 5737)",
    "192.88.99.0/24": "a 6to4 relay (RFC 7526)",
    "192.168.0.0/16": "private (RFC 1918)",
    "198.18.0.0/15": "for benchmarks (RFC 2544)",
    "198.51.100.0/24": "for documentation (RFC 5737)",
    "203.0.113.0/24": "for documentation (RFC 5737)",
    "224.0.0.0/4": "multicast (RFC 5771)",
    "255.255.255.255/32": "broadcast (RFC 919)",
    "240.0.0.0/4": "reserved (RFC 1112)",
}
_V6 = {
    "fd00:ec2::254/128": METADATA,  # AWS
    "fd20:ce::254/128": METADATA,  # Google
    "::/128": "unspecified (RFC 4291)",
    "::1/128": "loopback (RFC 4291)",
    "::ffff:0:0/96": "an IPv4 address in IPv6 (RFC 4291)",
    "::/96": "an IPv4 address in IPv6 (RFC 4291)",
    "64:ff9b::/96": "NAT64 (RFC 6052)",
    "64:ff9b:1::/48": "NAT64 (RFC 8215)",
    "100::/64": "for discarding (RFC 6666)",
    "2001::/32": "Teredo (RFC 4380)",
    "2001:db8::/32": "for documentation (RFC 3849)",
    "2001::/23": "for protocols (RFC 2928)",
    "2002::/16": "6to4 (RFC 3056)",
    "3fff::/20": "for documentation (RFC 9637)",
    "fc00::/7": "private (RFC 4193)",
    "fe80::/10": "link-local (RFC 4291)",
    "fec0::/10": "private (RFC 3879)",
    "ff00::/8": "multicast (RFC 4291)",
}
_SPECIAL: Sequence[tuple[Network, str]] = [
    (ip_network(network), purpose) for network, purpose in {**_V4, **_V6}.items()
]
"""The narrower network stands before the one that it lies in."""
_GLOBAL_V6 = IPv6Network("2000::/3")


def networks(named: Iterable[str]) -> tuple[Network, ...]:
    """Networks as settings name them, such as 127.0.0.0/8. Raises `ValueError` with the one that is none."""
    found: list[Network] = []
    for name in named:
        try:
            found.append(ip_network(name))
        except ValueError as error:
            raise ValueError(f"{name!r} is no network: {error}") from error
    return tuple(found)


def purpose_of(address: IPv4Address | IPv6Address) -> str:
    """What keeps an address from being reachable from everywhere; empty where nothing does."""
    for network, purpose in _SPECIAL:
        if address.version == network.version and address in network:
            return purpose
    if isinstance(address, IPv6Address) and address not in _GLOBAL_V6:
        return "reserved (RFC 4291)"
    return ""


def objection(text: str, port: int, *, is_tls: bool, allowed: Sequence[Network] = ()) -> str:
    """Why a connection to an address and port is refused; empty where it may be made.

    What lies in an `allowed` network may be reached on any port and without TLS. Everything else must be
    reachable from everywhere, be spoken to by TLS, and listen on 443 or above 1023.
    """
    try:
        address = ip_address(text)
    except ValueError:
        return "this is no address"
    if isinstance(address, IPv6Address) and address.scope_id:
        return "its address is link-local (RFC 4291)"
    if any(address.version == network.version and address in network for network in allowed):
        return ""
    if purpose := purpose_of(address):
        return f"its address is {purpose}"
    if not is_tls:
        return "it is asked without TLS"
    if port != PORT_TLS and port < PORT_UNPRIVILEGED_MIN:
        return f"port {port} is another protocol's"
    return ""
