"""A client that was written for Custom Vision, over real photographs, against the shipped models."""

from collections.abc import Mapping
from itertools import islice
from pathlib import Path

from models.workspace import CHECKOUT
from tests.support.images import write_folder
from tests.support.sdk import Target
from tests.support.server import serving

IMAGES = 500
PROJECT = "3be7a5b2-9c5e-4f0e-8a51-2a9d6c1f0e77"


def test_a_loop_over_class_folders_gets_the_answers_of_classify(photographs: Mapping[str, bytes], tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "test", dict(islice(photographs.items(), 0, 3 * IMAGES, 3)))
    done = 0
    with (
        serving(tmp_path, models_dir=CHECKOUT / "models" / "store") as server,
        server.client() as ours,
        Target(server.url, "any", PROJECT, "cnn").client() as predictor,
    ):
        for image in sorted(folder.glob("*/*")):
            data = image.read_bytes()
            results = predictor.classify_image(PROJECT, "cnn", data)
            expected = ours.post("/v1/classify?backend=cnn&top=6", content=data).raise_for_status().json()
            assert [(one.tag_name, one.probability) for one in results.predictions] == [
                (one["label"], one["probability"]) for one in expected["predictions"]
            ]
            done += 1
    assert done == IMAGES
