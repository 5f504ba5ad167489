"""A shipped model answers over HTTP what its Keras original answers, on real photographs."""

from collections.abc import Mapping
from itertools import islice
from pathlib import Path

import keras
import numpy as np
import pytest

from models import imaging
from models.repository import Repository
from models.workspace import CHECKOUT
from tests.support.server import serving

IMAGES = 200
"""Spread over all classes."""


@pytest.mark.parametrize("name", ["cnn_residual"])
def test_http_scores_equal_keras_scores(
    name: str, photographs: Mapping[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photographs = dict(islice(photographs.items(), 0, None, len(photographs) // IMAGES))
    stored = Repository(CHECKOUT / "models" / "store").get(name)
    labels = stored.card.labels
    assert stored.card.keras is not None
    model = keras.models.load_model(stored.folder / stored.card.keras.file, compile=False)
    pixels = np.stack([imaging.load(data, stored.card.input) for data in photographs.values()]).astype(np.float32)
    expected = np.concatenate([np.asarray(model(pixels[i : i + 50], training=False)) for i in range(0, len(pixels), 50)])
    scores = np.zeros_like(expected)
    with serving(tmp_path, models_dir=CHECKOUT / "models" / "store") as server, server.client() as client:
        for row, data in enumerate(photographs.values()):
            reply = client.post("/v1/classify", params={"backend": name, "top": len(labels)}, content=data).raise_for_status()
            for prediction in reply.json()["predictions"]:
                scores[row, labels.index(prediction["label"])] = prediction["probability"]
    difference = float(np.abs(scores - expected).max())
    with capsys.disabled():
        print(f"\n{name}: {len(pixels)} photographs, HTTP and Keras scores differ by at most {difference:.1e}")
    assert difference <= 1e-3
    assert (scores.argmax(axis=1) == expected.argmax(axis=1)).all()
