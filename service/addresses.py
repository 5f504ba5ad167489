"""Hosts and addresses: which are the internet's, and which a key may be sent to."""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.parse import SplitResult, urlsplit

from models.hosts import is_loopback

AZURE_HOST = IPv4Address("168.63.129.16")
"""Public by its number, and yet the platform's own inside every Azure machine (learn.microsoft.com, "What is IP address
168.63.129.16").
"""

UNICAST = IPv6Network("2000::/3")
"""What of IPv6 is given out for the internet (RFC 4291). IPv4-mapped and -compatible addresses, and NAT64, lie elsewhere."""

EMBEDDING = (IPv6Network("2001::/32"), IPv6Network("2002::/16"))
"""Teredo (RFC 4380) and 6to4 (RFC 3056): they lead to an IPv4 address, which would have to be judged in their place."""

ISATAP = (0x00005EFE, 0x02005EFE)
"""Third quarter of an IPv6 address that embeds an IPv4 address, whatever its prefix is (RFC 5214)."""


def is_public(text: str) -> bool:
    """Whether a numeric address is one of the internet's, and nothing but that.

    Any IPv6 address that embeds an IPv4 address is refused, and so is what only looks public inside a cloud.
    """
    try:
        address = ip_address(text)
    except ValueError:
        return False
    if not address.is_global or address.is_multicast or address.is_reserved or address == AZURE_HOST:
        return False
    if isinstance(address, IPv6Address):
        embedding = any(address in network for network in EMBEDDING) or (int(address) >> 32 & 0xFFFFFFFF) in ISATAP
        return address in UNICAST and not embedding
    return True


def web_address(text: str, wanted: str) -> SplitResult:
    """The parts of an address over http or https without user, password or fragment.

    `wanted`: what an address of another kind is told. Raises `ValueError`, which repeats no secret.
    """
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018  # a property that raises
    except ValueError as exc:
        raise ValueError("this is no address") from exc
    if not parts.hostname or parts.scheme not in ("http", "https"):
        raise ValueError(wanted)
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise ValueError("an address without user, password or #fragment is wanted; keys have a setting of their own")
    return parts


def checked_endpoint(text: str) -> str:
    """An address that a key may be sent to: https, or http on this machine. Raises `ValueError`, which repeats no secret."""
    parts = web_address(text, "this is no https:// address")
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise ValueError("https:// is wanted: over http:// anybody on the way could read the key")
    return text


def host_of(address: str) -> str:
    """Host and port, for messages; an address may carry what they should not repeat."""
    parts: SplitResult = urlsplit(address)
    try:
        return f"{parts.hostname or 'nowhere'}{f':{parts.port}' if parts.port else ''}"
    except ValueError:
        return "nowhere"
