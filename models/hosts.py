"""Which hosts mean this very machine."""

from ipaddress import ip_address


def is_loopback(host: str) -> bool:
    """Whether a name or an address, IPv6 with or without brackets, means this very machine."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
