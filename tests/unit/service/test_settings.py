"""Settings: where they come from, what they refuse, and that they keep their secrets."""

import json
import traceback
from pathlib import Path

import pytest
from pydantic import ValidationError

from service.custom_vision_api_settings import CustomVisionApiSettings
from service.errors import ConfigurationError
from service.otel_settings import OtelSettings
from service.remote_settings import AzureMLSettings, CustomVisionSettings
from service.settings import FakeSettings, Settings, load_settings

GROUPS = ("fake", "azure_ml", "custom_vision", "custom_vision_api", "otel")
SECRET = "correct-horse-battery-staple"

WRONG = {
    "PARALLAX_PORT": ["65536", "-1", "http"],
    "PARALLAX_METRICS_PORT": ["-1"],
    "PARALLAX_DEVICE": ["gpu"],
    "PARALLAX_PRECISION": ["int4"],
    "PARALLAX_GPU_MEM_LIMIT_BYTES": ["-1", "4GB"],
    "PARALLAX_CPUS": ["0", "-2", "nan", "inf", "all"],
    "PARALLAX_KEEP_VERSIONS": ["0", "1.5"],
    "PARALLAX_ALLOW_ANONYMOUS": ["perhaps"],
    "PARALLAX_MAX_BODY_BYTES": ["0", "6MB", "256000001"],
    "PARALLAX_MAX_INFLIGHT_BYTES": ["0", "5999999"],
    "PARALLAX_MAX_PIXELS": ["63"],
    "PARALLAX_MAX_QUEUE": ["0", "many"],
    "PARALLAX_MAX_WAIT_MS": ["-1", "nan"],
    "PARALLAX_DEADLINE_MS": ["0"],
    "PARALLAX_BODY_TIMEOUT_S": ["0", "nan"],
    "PARALLAX_GRACE_S": ["-1"],
    "PARALLAX_LOG_LEVEL": ["loud"],
    "PARALLAX_FAKE__LABELS": ["a,b", '{"a": 1}', "[1]"],
    "PARALLAX_FAKE__LATENCY_MS": ["-1"],
    "PARALLAX_FAKE__MAX_BATCH_SIZE": ["0"],
    "PARALLAX_FAKE__MAX_IN_FLIGHT": ["0"],
    "PARALLAX_FAKE__LATENCY": ["5"],
    "PARALLAX_FAKE": ["on"],
}


def test_without_anything_set_the_defaults_hold_and_only_this_machine_is_served() -> None:
    settings = load_settings()
    assert (settings.host, settings.port, settings.default_backend, settings.keep_versions) == ("127.0.0.1", 8000, "cnn", 1)
    assert settings.loopback
    assert settings.fake == FakeSettings(labels=[])


@pytest.mark.parametrize(("variable", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_an_error_names_the_variable_and_is_no_traceback(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError) as refused:
        load_settings()
    assert variable in str(refused.value)


def test_all_errors_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARALLAX_PORT", "x")
    monkeypatch.setenv("PARALLAX_MAX_QUEUE", "0")
    monkeypatch.setenv("PARALLAX_FAKE__LATENCY_MS", "-1")
    with pytest.raises(ConfigurationError, match=r"PARALLAX_PORT.*PARALLAX_MAX_QUEUE.*PARALLAX_FAKE__LATENCY_MS"):
        load_settings()


def test_secrets_show_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARALLAX_API_KEYS", f"alice:{SECRET}")
    settings = load_settings()
    assert settings.api_keys.get_secret_value() == f"alice:{SECRET}"
    for shown in (repr(settings), str(settings), settings.model_dump_json(), repr(settings.model_dump())):
        assert SECRET not in shown


@pytest.mark.parametrize("variable", ["PARALLAX_PORT", "PARALLAX_FAKE__LABELS", "PARALLAX_MAX_INFLIGHT_BYTES"])
def test_secrets_show_in_no_error_either(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    """Of these the last is found by a validator of the whole tree, which pydantic would show with its whole input."""
    monkeypatch.setenv("PARALLAX_API_KEYS", f"alice:{SECRET}")
    monkeypatch.setenv(variable, "5" if "BYTES" in variable else "-5")
    with pytest.raises(Exception) as refused:  # noqa: PT011  # whichever it is
        load_settings()
    assert SECRET not in "".join(traceback.format_exception(refused.value))


def test_a_flag_wins_over_the_environment_and_that_over_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PARALLAX_PORT=1\nPARALLAX_MAX_QUEUE=1\nPARALLAX_GRACE_S=1\nOTHERS_SECRET=x\n")
    monkeypatch.setenv("PARALLAX_PORT", "2")
    monkeypatch.setenv("PARALLAX_MAX_QUEUE", "2")
    settings = load_settings(port=3, max_queue=None)
    assert (settings.port, settings.max_queue, settings.grace_s) == (3, 2, 1)


def test_an_empty_variable_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARALLAX_PORT", "")
    monkeypatch.setenv("PARALLAX_CPUS", "")
    assert load_settings() == Settings()


def test_a_group_is_set_field_by_field(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARALLAX_FAKE__LABELS", json.dumps(["a", "b, c"]))
    monkeypatch.setenv("PARALLAX_FAKE__LATENCY_MS", "2.5")
    assert load_settings().fake == FakeSettings(labels=["a", "b, c"], latency_ms=2.5)


def test_a_group_is_set_from_file_and_environment_together(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text('PARALLAX_FAKE__LABELS=["a"]\nPARALLAX_FAKE__MAX_BATCH_SIZE=3\n')
    monkeypatch.setenv("PARALLAX_FAKE__MAX_BATCH_SIZE", "4")
    assert load_settings().fake == FakeSettings(labels=["a"], max_batch_size=4)


def test_keys_may_hold_what_looks_like_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARALLAX_API_KEYS", '["a:b"]')
    assert load_settings().api_keys.get_secret_value() == '["a:b"]'


def test_a_running_service_can_not_change_its_settings() -> None:
    settings = load_settings()
    with pytest.raises(ValidationError):
        settings.port = 1  # type: ignore[misc]  # that is the point
    with pytest.raises(ValidationError):
        settings.fake.latency_ms = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("localhost.example.com", False),
        ("example.com", False),
    ],
)
def test_loopback_is_told_from_the_rest_of_the_world(host: str, loopback: bool) -> None:
    assert load_settings(host=host).loopback is loopback


def test_every_setting_says_what_it_does() -> None:
    for group in (Settings, FakeSettings, AzureMLSettings, CustomVisionSettings, CustomVisionApiSettings, OtelSettings):
        undocumented = [name for name, field in group.model_fields.items() if not field.description and name not in GROUPS]
        assert undocumented == []
