"""Hosts and addresses: which mean this very machine, and which a key may be sent to."""

from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit


def is_loopback(host: str) -> bool:
    """Whether a name or an address, IPv6 with or without brackets, means this very machine."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def checked_endpoint(text: str) -> str:
    """An address that a key may be sent to: https, or http on this machine. Raises `ValueError`, which repeats no secret."""
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018  # a property that raises
    except ValueError as exc:
        raise ValueError("this is no address") from exc
    if not parts.hostname or parts.scheme not in ("http", "https"):
        raise ValueError("this is no https:// address")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise ValueError("an address without user, password or #fragment is wanted; keys have a setting of their own")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise ValueError("https:// is wanted: over http:// anybody on the way could read the key")
    return text


def host_of(address: str) -> str:
    """Host and port, for messages; an address may carry what they should not repeat."""
    parts: SplitResult = urlsplit(address)
    try:
        return f"{parts.hostname or 'nowhere'}{f':{parts.port}' if parts.port else ''}"
    except ValueError:
        return "nowhere"
