"""Who may ask."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from service.api.auth import Guard
from service.errors import ConfigurationError, ForeignOrigin, MissingKey
from service.settings import load_settings

ALICE = "alice-key-0123456789"
BOB = "bob:key:with:colons-0123456789"


def guard(**settings: object) -> Guard:
    return Guard(load_settings(**settings))


def sent(headers: Mapping[str, str]) -> Mapping[bytes, bytes]:
    """Headers as the edge hands them on: in bytes, their names in lower case."""
    return {name.lower().encode(): value.encode("latin-1") for name, value in headers.items()}


@pytest.fixture
def keyed() -> Guard:
    return guard(api_keys=f"alice:{ALICE}, bob:{BOB}")


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {ALICE}"},
        {"authorization": f"bearer {ALICE}"},
        {"Authorization": f"BEARER   {ALICE} "},
        {"X-API-Key": ALICE},
    ],
)
def test_a_key_may_come_in_either_header(keyed: Guard, headers: dict[str, str]) -> None:
    assert keyed.check(sent(headers)) == "alice"


def test_a_key_may_contain_colons(keyed: Guard) -> None:
    assert keyed.check(sent({"X-API-Key": BOB})) == "bob"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-API-Key": ""},
        {"X-API-Key": "wrong"},
        {"X-API-Key": ALICE[:-1]},
        {"X-API-Key": ALICE + "0"},
        {"X-API-Key": ALICE.upper()},
        {"X-API-Key": "alice"},
        {"X-API-Key": f"alice:{ALICE}"},
        {"Authorization": ALICE},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"Authorization": f"Basic {ALICE}"},
        {"Authorization": f"Bearer{ALICE}"},
        {"X-API-Key": "\xff\x80"},
        {"X-API-Key": "wrong", "Authorization": f"Bearer {ALICE}"},
    ],
)
def test_anything_else_is_refused(keyed: Guard, headers: dict[str, str]) -> None:
    with pytest.raises(MissingKey) as refused:
        keyed.check(sent(headers))
    assert ALICE not in str(refused.value)


def test_with_a_key_it_does_not_matter_from_which_site_or_under_which_name(keyed: Guard) -> None:
    headers = {"X-API-Key": ALICE, "Host": "models.example.com", "Origin": "https://app.example.com"}
    assert keyed.check(sent(headers)) == "alice"


def test_a_key_in_any_language_is_accepted_as_clients_send_it() -> None:
    key = "schlüssel-mit-ümlauten"
    assert guard(api_keys=f"alice:{key}").check({b"x-api-key": key.encode()}) == "alice"


def test_keys_come_from_a_file_instead_or_as_well(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"\n  bob:{BOB}  \n\ncarol:{'c' * 16}\n")
    alone = guard(api_keys_file=file)
    assert alone.check(sent({"X-API-Key": "c" * 16})) == "carol"
    with pytest.raises(MissingKey):
        alone.check(sent({"X-API-Key": ALICE}))
    both = guard(api_keys=f"alice:{ALICE}", api_keys_file=file)
    assert [both.check(sent({"X-API-Key": key})) for key in (ALICE, BOB)] == ["alice", "bob"]


@pytest.mark.parametrize("keys", ["alice", "alice:", f":{ALICE}", f"alice:{'x' * 15}", f"{ALICE}", f"alice:{ALICE},bob:short"])
def test_a_malformed_or_short_key_is_refused_at_the_start_and_not_repeated(keys: str) -> None:
    with pytest.raises(ConfigurationError, match="at least 16") as refused:
        guard(api_keys=keys)
    assert ALICE not in str(refused.value)
    assert "short" not in str(refused.value)


def test_a_name_that_stands_twice_is_refused_even_across_file_and_variable(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"alice:{BOB}\n")
    with pytest.raises(ConfigurationError, match="'alice' stands twice"):
        guard(api_keys=f"alice:{ALICE}", api_keys_file=file)


@pytest.mark.parametrize("content", [None, "a folder", b"\xff\xfe\x00"], ids=["missing", "folder", "not text"])
def test_a_key_file_that_can_not_be_read_is_a_start_up_error(tmp_path: Path, content: str | bytes | None) -> None:
    file = tmp_path / "keys"
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content:
        file.mkdir()
    with pytest.raises(ConfigurationError, match="PARALLAX_API_KEYS_FILE"):
        guard(api_keys_file=file)


def test_an_empty_key_file_does_not_open_the_service(tmp_path: Path) -> None:
    """Whoever names a file of keys wants a key to be needed, though a secret was mounted empty."""
    (tmp_path / "keys").write_text("\n")
    with pytest.raises(ConfigurationError):
        guard(api_keys_file=tmp_path / "keys")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.com"])
def test_beyond_loopback_it_takes_keys_or_a_clear_word(host: str) -> None:
    with pytest.raises(ConfigurationError, match="PARALLAX_ALLOW_ANONYMOUS"):
        guard(host=host)
    assert guard(host=host, allow_anonymous=True).check(sent({"Host": "models.example.com"})) == ""
    assert guard(host=host, api_keys=f"alice:{ALICE}").keyed


@pytest.mark.parametrize(
    "host", ["localhost:8000", "LOCALHOST:8000", "localhost", "127.0.0.1", "127.0.0.1:1", "[::1]:8000", "[::1]"]
)
def test_without_keys_programs_of_this_machine_are_answered(host: str) -> None:
    assert guard().check(sent({"Host": host})) == ""
    assert guard().check(sent({"Host": host, "Origin": f"http://{host}"})) == ""


@pytest.mark.parametrize("address", ["127.0.0.2", "::1", "localhost"])
def test_a_loopback_address_that_the_service_listens_on_is_a_name_of_it(address: str) -> None:
    name = f"[{address}]" if ":" in address else address
    assert guard(host=address).check(sent({"Host": f"{name}:8000"})) == ""


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8000",
        "localhost.evil.example:8000",
        "127.0.0.1.evil.example",
        "localhost:8000:x",
        "[::2]:1",
        "::1",
        "",
    ],
)
def test_a_name_that_was_bent_to_this_machine_is_refused(host: str) -> None:
    """DNS rebinding: the browser believes that it talks to the other site."""
    with pytest.raises(ForeignOrigin):
        guard().check(sent({"Host": host}))


def test_a_request_without_a_host_is_refused() -> None:
    with pytest.raises(ForeignOrigin):
        guard().check(sent({}))


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "http://localhost",  # another port is another site
        "http://localhost:8001",
        "http://localhost.evil.example:8000",
        "http://localhost:8000@evil.example",
        "http://127.0.0.1:8000",
        "null",
        "",
        "localhost:8000",
        "file://",
        "http://[::1",  # no URL at all
        "http://[not-an-address]:8000",
    ],
)
def test_a_page_of_another_site_can_not_post_as_its_visitor(origin: str) -> None:
    with pytest.raises(ForeignOrigin):
        guard().check(sent({"Host": "localhost:8000", "Origin": origin}))


def test_beyond_loopback_without_keys_other_sites_are_refused_all_the_same() -> None:
    open_to_all = guard(host="0.0.0.0", allow_anonymous=True)
    headers = {"Host": "models.example.com", "Origin": "https://models.example.com"}
    assert open_to_all.check(sent(headers)) == ""
    with pytest.raises(ForeignOrigin):
        open_to_all.check(sent(headers | {"Origin": "https://evil.example"}))


def test_spaces_around_a_key_are_not_part_of_it() -> None:
    assert guard(api_keys=f" alice : {ALICE} ").check(sent({"X-API-Key": ALICE})) == "alice"
