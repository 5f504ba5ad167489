"""Zips that say more than they hold."""

import struct


def listing(count: int, size: int = 0) -> bytes:
    """A list of files in one class folder, of so many bytes each, and none of the files (APPNOTE.TXT 4.3.12 to 4.3.16)."""
    entries = bytearray()
    for number in range(count):
        name = f"dark/{number}.jpg".encode()
        entries += struct.pack("<4s6H3I5H2I", b"PK\1\2", 20, 20, 0, 0, 0, 33, 0, size, size, len(name), 0, 0, 0, 0, 0, 0) + name
    length = len(entries)
    end64 = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, count, count, length, 0)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, length, 1)
    return (
        bytes(entries) + end64 + locator + struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    )
