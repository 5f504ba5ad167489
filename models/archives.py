"""Zips that somebody else made: looked at as a whole before anything of them is used.

They are read in place, or one known member is written under a name of ours, so that a crafted name has nowhere to go. Who makes
such names means harm all the same, or lost a path on the way.
"""

import lzma
import math
import os
import stat
import struct
import zipfile
import zlib
from collections import Counter
from contextlib import nullcontext
from pathlib import Path, PurePosixPath
from typing import IO

from models.errors import DatasetError

MAX_FILES = 100_000
MAX_UNPACKED_BYTES = 100_000_000_000
"""Of all files together, as the list says: a guard against crafted zips. Whoever reads one bounds it as well."""
DIRECTORY_BYTES = 200
"""Of a zip's list, for each file: with names of 150 characters on average."""

DAMAGED = (
    OSError,
    EOFError,
    RuntimeError,
    NotImplementedError,
    zipfile.BadZipFile,
    struct.error,
    zlib.error,
    lzma.LZMAError,
    ValueError,
    OverflowError,
)
"""What zipfile raises for a file that is torn, or packed in a way that it does not know."""

END, END_BYTES = b"PK\x05\x06", 22
LOCATOR, LOCATOR_BYTES = b"PK\x06\x07", 20
END64_BYTES = 56
LONGEST_END = END_BYTES + 65_535
"""With the longest comment."""


LOCAL = struct.Struct("<4s22xHH")
"""Before a file's bytes (APPNOTE.TXT 4.3.7): the signature, and how long its name and its extra field are, which follow."""
LOCAL_NAMES = 512
"""Bytes for both, of nearly all files."""
ODD_FLAGS, UTF8 = 0x61, 0x800
"""Of a file (4.4.4): encrypted or patched, which zipfile says what it thinks of; its name is UTF-8, not code page 437."""


def open_zip(path: Path | IO[bytes], name: str, max_files: int = MAX_FILES) -> zipfile.ZipFile:
    """Open one whose list of files is no longer than it may be, which is known before it is read. Raises `DatasetError`.

    `path`: or a file that is open already, and stays so.
    """
    try:
        with path.open("rb") if isinstance(path, Path) else nullcontext(path) as file:
            _check_directory(file, name, max_files)
        return zipfile.ZipFile(path)
    except DAMAGED as exc:
        raise DatasetError(f"{name} is not a zip file that can be read: {exc}") from exc


def files_of(
    archive: zipfile.ZipFile, name: str, max_files: int = MAX_FILES, max_bytes: int = MAX_UNPACKED_BYTES
) -> list[zipfile.ZipInfo]:
    """All files of a zip. Raises `DatasetError` unless every one of them is an honest file by itself, with the name at fault."""
    files = [info for info in archive.infolist() if not info.is_dir()]
    if len(files) > max_files:
        raise DatasetError(f"{name} holds {len(files):,} files, more than {max_files:,}. Split it into parts.")
    if (size := sum(info.file_size for info in files)) > max_bytes:
        raise DatasetError(f"{name} would have {size:,} bytes unpacked, more than {max_bytes:,}. Split it into parts.")
    for info in files:
        _check(info, name)
    twice = [one for one, count in Counter(str(PurePosixPath(info.filename)) for info in files).items() if count > 1]
    if twice:
        raise DatasetError(f"{name} holds {quoted(twice[0])} more than once: which one counts?")
    return files


def plain_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes | None:
    """What `archive.read` gives, by one system call instead of five, from any thread, for a file that is packed as it is.

    None where zipfile has to be asked: for another packing, a zip that is no file of this machine, and whatever is odd about one.
    """
    if archive.fp is None or info.compress_type != zipfile.ZIP_STORED:
        return None
    if info.flag_bits & ODD_FLAGS or info.compress_size != info.file_size:
        return None
    try:
        block = os.pread(archive.fp.fileno(), LOCAL.size + info.file_size + LOCAL_NAMES, info.header_offset)
    except (OSError, OverflowError):
        return None
    if len(block) < LOCAL.size:
        return None
    signature, name, extra = LOCAL.unpack_from(block)
    start = LOCAL.size + name + extra
    end = start + info.file_size
    data = block[start:end]
    named = block[LOCAL.size : LOCAL.size + name] == info.orig_filename.encode("utf-8" if info.flag_bits & UTF8 else "cp437")
    alone = info.header_offset + end <= (getattr(info, "_end_offset", None) or math.inf)  # newer versions of zipfile know it
    sound = signature == b"PK\x03\x04" and len(data) == info.file_size and zlib.crc32(data) == info.CRC
    return data if sound and named and alone else None


def quoted(name: str) -> str:
    """A name that may be hostile, for a message."""
    return ascii(name if len(name) <= 80 else name[:77] + "...")


def _check(info: zipfile.ZipInfo, name: str) -> None:
    path = PurePosixPath(info.filename)
    if path.is_absolute() or ".." in path.parts or "\\" in info.orig_filename or ":" in (path.parts or ("",))[0]:
        raise DatasetError(f"{name} holds {quoted(info.filename)}, which leads out of it. Pack it anew with relative names.")
    if stat.S_ISLNK(info.external_attr >> 16):
        raise DatasetError(f"{name}: {quoted(info.filename)} is a link. Pack the files themselves.")
    if info.flag_bits & 1:
        raise DatasetError(f"{name}: {quoted(info.filename)} is encrypted. Pack it without a password.")
    if path.suffix.lower() == ".zip":
        raise DatasetError(f"{name} holds another zip, {quoted(info.filename)}. Unpack it, and pack its files alone.")


def _check_directory(file: IO[bytes], name: str, max_files: int) -> None:
    """Look at how long the list of files is before zipfile reads all of it into memory (APPNOTE.TXT 4.3.14 to 4.3.16).

    Several records can claim to say it: zipfile takes one, and the largest claim of all counts here.
    """
    size = file.seek(0, 2)
    start = file.seek(max(0, size - LONGEST_END))
    tail = file.read()
    ends = [place for place in {len(tail) - END_BYTES, tail.rfind(END)} if place >= 0 and tail[place:].startswith(END)]
    if not ends:
        raise zipfile.BadZipFile("it has no list of files at its end, as if it were cut off")
    claims = [struct.unpack("<HI", tail[place + 10 : place + 16]) for place in ends]
    for place in ends:
        locator = start + place - LOCATOR_BYTES
        if locator < 0:
            continue
        file.seek(locator)
        record = file.read(LOCATOR_BYTES)
        if record.startswith(LOCATOR):
            for at in (locator - END64_BYTES, struct.unpack("<Q", record[8:16])[0]):
                if 0 <= at <= size - END64_BYTES:
                    file.seek(at)
                    claims.append(struct.unpack("<QQ", file.read(END64_BYTES)[32:48]))
    # A short form says "all bits set" where only the long one has room; folders have entries too.
    many = any(entries != 0xFFFF and entries > 2 * max_files for entries, _ in claims)
    if many or any(length != 0xFFFFFFFF and length > DIRECTORY_BYTES * max_files for _, length in claims):
        raise DatasetError(f"{name} lists more files than the {max_files:,} that it may have. Split it into parts.")
