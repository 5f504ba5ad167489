import asyncio
import threading
from pathlib import Path

import pytest

from models.imaging import Limits
from service.backends.base import Candidate
from service.backends.fake import FakeBackend
from service.decoding import Decoder
from service.errors import DeadlineExceeded
from service.pipeline import Pipeline
from service.registry import Registry
from service.settings import load_settings
from service.telemetry import Metrics
from tests.support.images import plain


async def test_a_deadline_that_passes_while_the_image_is_decoded_is_answered_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load_settings(models_dir=tmp_path, default_backend="fake", fake={"labels": ["a", "b"]})
    registry = Registry(settings)
    await registry.open({"fake": [Candidate("1", lambda: FakeBackend(settings))]})
    decoder = Decoder(1, Limits())
    pipeline = Pipeline(registry, decoder, Metrics())
    go_on = threading.Event()
    backend = registry.get().backend
    monkeypatch.setattr(backend, "prepare", lambda _data: go_on.wait())
    try:
        with pytest.raises(DeadlineExceeded):
            await pipeline.classify(plain(0), deadline=asyncio.get_running_loop().time() + 0.01)
        assert registry.get().admission.held == 0
    finally:
        go_on.set()
        decoder.close()
        await registry.close()


async def test_a_broken_default_leaves_the_choice_to_the_others_unless_it_was_asked_for(tmp_path: Path) -> None:
    found = {
        "cnn": [Candidate("1", reason="half a file")],
        "fake": [Candidate("1", lambda: FakeBackend(load_settings(models_dir=tmp_path, fake={"labels": ["a", "b"]})))],
    }
    left_open = Registry(load_settings(models_dir=tmp_path))
    await left_open.open(found)
    assert left_open.default == "fake"
    asked_for = Registry(load_settings(models_dir=tmp_path, default_backend="cnn"))
    await asked_for.open(found)
    assert asked_for.default == "cnn"
