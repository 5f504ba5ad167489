"""Who may ask: named API keys, or, without any, only this machine's own programs."""

import hashlib
import hmac
from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import urlsplit

from models.hosts import is_loopback
from service.errors import ConfigurationError, ForeignOrigin, MissingKey
from service.settings import Settings

MIN_KEY_LENGTH = 16


class Guard:
    """Checks one request's headers; the strategy follows from the settings."""

    def __init__(self, settings: Settings) -> None:
        """Raises `ConfigurationError` if keys are malformed, or if there are none and anyone could reach the service."""
        self._digests = {name: _digest(key.encode()) for name, key in _read_keys(settings).items()}
        self._loopback = settings.loopback
        if not self._digests and not self._loopback and not settings.allow_anonymous:
            raise ConfigurationError(
                f"PARALLAX_HOST={settings.host} is reachable by others, and no API key guards the service. "
                "Set PARALLAX_API_KEYS=name:key, or PARALLAX_ALLOW_ANONYMOUS=true if it is meant to be open."
            )

    @property
    def keyed(self) -> bool:
        """Whether a key is needed."""
        return bool(self._digests)

    def check(self, headers: Mapping[bytes, bytes]) -> str:
        """Return the name of the caller's key, empty if none is needed. Raises `MissingKey` or `ForeignOrigin`."""
        return self._name_of(headers, headers.get(b"x-api-key"))

    def check_prediction_key(self, headers: Mapping[bytes, bytes]) -> str:
        """`check` for callers who send their key as Custom Vision's clients do; those of our own are taken too."""
        return self._name_of(headers, headers.get(b"prediction-key") or headers.get(b"x-api-key"))

    def _name_of(self, headers: Mapping[bytes, bytes], key: bytes | None) -> str:
        if not self._digests:
            self._check_site(headers)
            return ""
        if not key:
            scheme, _, credential = headers.get(b"authorization", b"").partition(b" ")
            key = credential.strip() if scheme.lower() == b"bearer" else b""
        given = _digest(key)
        # Every digest is compared in constant time and none is skipped: the time tells neither key nor name.
        names = [name for name, digest in self._digests.items() if hmac.compare_digest(digest, given)]
        if not key or not names:
            raise MissingKey("Send a valid key as `Authorization: Bearer KEY` or `X-API-Key: KEY`.")
        return names[0]

    def _check_site(self, headers: Mapping[bytes, bytes]) -> None:
        """Without keys, a page that a local browser visits must not use the service as its visitor (CSRF, DNS rebinding)."""
        host = headers.get(b"host", b"").decode("latin-1")
        if self._loopback and not _means_loopback(host):
            raise ForeignOrigin(f"This service answers to localhost only, not to {host[:100]!r}.")
        origin = headers.get(b"origin")
        if origin is not None and _site(origin.decode("latin-1")) != host:
            raise ForeignOrigin("A page of another site can't use this service. API keys (PARALLAX_API_KEYS) would allow it.")


@lru_cache(maxsize=64)
def _means_loopback(host: str) -> bool:
    """Whether a Host header, with or without a port, names this very machine."""
    return is_loopback(host.rsplit(":", 1)[0] if not host.endswith("]") else host)


def _site(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None


def _read_keys(settings: Settings) -> Mapping[str, str]:
    entries = settings.api_keys.get_secret_value().split(",")
    if settings.api_keys_file is not None:
        try:
            entries += settings.api_keys_file.read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError) as exc:
            raise ConfigurationError(f"PARALLAX_API_KEYS_FILE can't be read: {exc}") from exc
    keys: dict[str, str] = {}
    for entry in filter(None, (entry.strip() for entry in entries)):
        name, colon, key = (part.strip() for part in entry.partition(":"))
        if not colon or not name or len(key) < MIN_KEY_LENGTH:
            raise ConfigurationError(f"API keys are name:key with keys of at least {MIN_KEY_LENGTH} characters; an entry is not")
        if name in keys:
            raise ConfigurationError(f"API key name {name!r} stands twice")
        keys[name] = key
    if settings.api_keys_file is not None and not keys:
        raise ConfigurationError("PARALLAX_API_KEYS_FILE holds no key; leave it unset if none is meant to be needed")
    return keys


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
