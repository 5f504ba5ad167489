"""Where the service is and with which key, from options and the environment. A key is never the value of an option."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import SecretStr

from models.errors import UsageError
from models.hosts import is_loopback

TRAINING_ENDPOINT = "PARALLAX_CUSTOM_VISION_TRAINING_ENDPOINT"
TRAINING_KEY = "PARALLAX_CUSTOM_VISION_TRAINING_KEY"
PREDICTION_ENDPOINT = "PARALLAX_CUSTOM_VISION__ENDPOINT"
PREDICTION_KEY = "PARALLAX_CUSTOM_VISION__KEY"
PROJECT = "PARALLAX_CUSTOM_VISION__PROJECT"
PUBLISHED_NAME = "PARALLAX_CUSTOM_VISION__PUBLISHED_NAME"
PREDICTION_RESOURCE = "PARALLAX_CUSTOM_VISION_PREDICTION_RESOURCE"


@dataclass(frozen=True)
class Access:
    """One resource: its address, without a slash at the end, and its key."""

    endpoint: str
    key: SecretStr = field(repr=False)

    @property
    def host(self) -> str:
        """For messages and records: name and port."""
        return urlsplit(self.endpoint).netloc

    @property
    def local(self) -> bool:
        """On this machine: no proxy of the environment has a part in it."""
        return on_this_machine(self.endpoint)


def training_access(endpoint: str | None, key_file: Path | None) -> Access:
    """Of the training resource. Raises `UsageError` for what is missing."""
    return _access(endpoint, key_file, TRAINING_ENDPOINT, TRAINING_KEY)


def prediction_access(endpoint: str | None, key_file: Path | None) -> Access:
    """Of the prediction resource, by the names that `parallax serve` reads. Raises `UsageError` for what is missing."""
    return _access(endpoint, key_file, PREDICTION_ENDPOINT, PREDICTION_KEY)


def said(value: str | None, variable: str, option: str) -> str:
    """An option's value, else the environment's. Raises `UsageError` if neither is there."""
    found = value or os.environ.get(variable)
    if not found:
        raise UsageError(f"say {option}, or set {variable}")
    return found


def on_this_machine(address: str) -> bool:
    """Whether an address leads to this very machine."""
    return is_loopback(urlsplit(address).hostname or "")


def check_address(address: str, what: str) -> str:
    """Refuse an address that a secret, or what comes of it, would cross a network to in the clear. Raises `UsageError`."""
    try:
        parts = urlsplit(address)
        sound = bool(parts.hostname) and parts.scheme in ("http", "https") and "@" not in parts.netloc and parts.port != 0
    except ValueError:  # a port that is no number, half an IPv6 address
        sound = False
    if not sound:
        raise UsageError(f"{what} must be an address such as https://NAME.cognitiveservices.azure.com, without a name in it")
    if address.startswith("http:") and not on_this_machine(address):
        raise UsageError(f"{what} must begin with https://: over http anybody on the way reads along")
    return address


def _access(endpoint: str | None, key_file: Path | None, endpoint_variable: str, key_variable: str) -> Access:
    address = said(endpoint, endpoint_variable, "--endpoint").strip().rstrip("/")
    if urlsplit(address).query or urlsplit(address).fragment or "/customvision/" in address.lower():
        raise UsageError(
            "the endpoint is the resource's own address, as in https://NAME.cognitiveservices.azure.com, not one of its calls"
        )
    check_address(address, "the endpoint")
    key = _key_of(key_file) if key_file else os.environ.get(key_variable, "")
    if not key.strip():
        raise UsageError(f"there is no key: set {key_variable}, or name a file that holds it with --key-file")
    if not key.strip().isascii() or any(character.isspace() for character in key.strip()):
        raise UsageError(f"what {key_file or key_variable} holds is no key: a key is one word")
    return Access(address, SecretStr(key.strip()))


def _key_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise UsageError(f"--key-file {file} can't be read: {exc}") from exc
