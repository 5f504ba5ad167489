"""Data for Azure ML: the cut that training makes, as folders and as tables that Azure's library reads."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models import imaging
from models.errors import DatasetError, UsageError
from models.metadata import InputSpec
from tests.support.images import encoded, exif, labelled, write_folder, write_zip
from training.azureml import prepare as module
from training.azureml.gather import gather
from training.azureml.layout import RECORD, UNFINISHED, read_record
from training.azureml.prepare import prepare
from training.data import pixel_digest
from training.data import prepare as cut

FILES = labelled({"dark": 20, "bright": 20})


def digests(folder: Path) -> set[tuple[str, str]]:
    """Label and content of what stands in class folders."""
    return {(path.parent.name, pixel_digest(imaging.decode(path.read_bytes()))) for path in folder.glob("*/*")}


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_the_cut_is_that_of_training(tmp_path: Path) -> None:
    test = labelled({"dark": 3, "bright": 3})
    sources = [str(write_zip(tmp_path / "a.zip", FILES)), str(write_folder(tmp_path / "b", labelled({"dark": 5, "bright": 2})))]
    tests = [str(write_zip(tmp_path / "test.zip", test))]
    record = prepare(sources, tmp_path / "out", test=tests, left_out=["dark/9.png"])
    ours = cut(sources, tests, InputSpec(height=32, width=32), tmp_path / "p.npy", left_out=["dark/9.png"])
    assert record.counts == ours.counts
    assert (record.labels, record.test_images) == (["bright", "dark"], 6)
    for split, rows in (("train", ours.train), ("validation", ours.validation)):
        shown = {(ours.labels[ours.targets[row]], pixel_digest(ours.pixels[row])) for row in rows}
        assert digests(tmp_path / "out" / "images" / split) == shown
    assert len(digests(tmp_path / "out" / "images" / "test")) == 6
    again = cut(
        [f"{tmp_path}/out/images#train", f"{tmp_path}/out/images#validation"],
        [],
        InputSpec(height=32, width=32),
        tmp_path / "q.npy",
    )
    validated = {(again.labels[again.targets[row]], pixel_digest(again.pixels[row])) for row in again.validation}
    assert validated == digests(tmp_path / "out" / "images" / "validation"), "training cuts prepared data in the same place"


def test_files_of_the_same_name_do_not_replace_each_other(tmp_path: Path) -> None:
    sources = [
        str(write_folder(tmp_path / one, {"a/1.png": encoded("PNG", seed=seed), "b/1.png": encoded("PNG", seed=10 + seed)}))
        for seed, one in enumerate(("x", "y", "z"))
    ]
    prepare(sources, tmp_path / "out")
    assert len(digests(tmp_path / "out" / "images" / "train") | digests(tmp_path / "out" / "images" / "validation")) == 6


@pytest.mark.parametrize(
    "image",
    [encoded("JPEG", exif=exif(6)), encoded("WEBP", mode="RGBA"), encoded("GIF"), encoded("BMP")],
    ids=["turned", "WebP", "GIF", "BMP"],
)
def test_what_azure_might_read_otherwise_is_encoded_anew(tmp_path: Path, image: bytes) -> None:
    source = write_folder(tmp_path / "photos", FILES | {"dark/odd.gif": image, "bright/photo.JPEG": encoded("JPEG")})
    prepare([str(source)], tmp_path / "out")
    (odd,) = (tmp_path / "out" / "images").glob("*/dark/odd.*")
    assert odd.suffix == ".png"
    np.testing.assert_array_equal(imaging.decode(odd.read_bytes()), imaging.decode(image))
    (photo,) = (tmp_path / "out" / "images").glob("*/bright/photo.*")
    assert (photo.suffix, photo.read_bytes()) == (".jpg", encoded("JPEG"))


def test_a_folder_of_zips_stands_for_its_zips(tmp_path: Path) -> None:
    write_zip(tmp_path / "photos" / "1.zip", labelled({"dark": 10, "bright": 10}))
    write_zip(tmp_path / "photos" / "2.zip", {f"dark/x{i}.png": encoded("PNG", seed=i) for i in range(5)})
    record = prepare([str(tmp_path / "photos")], tmp_path / "out")
    assert record.counts.found == 25


def test_what_was_prepared_is_not_prepared_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = str(write_folder(tmp_path / "photos", FILES))
    first = prepare([source], tmp_path / "out")
    with monkeypatch.context() as patch:
        patch.setattr(module, "cut", None)
        assert prepare([source], tmp_path / "out") == first
    (Path(source) / "dark" / "1.png").unlink()
    second = prepare([source], tmp_path / "out")
    assert second.counts.found == first.counts.found - 1
    assert second.sha256 != first.sha256
    assert len(digests(tmp_path / "out" / "images" / "train")) == second.counts.train


def test_the_same_images_have_the_same_digest_wherever_they_come_from(tmp_path: Path) -> None:
    first = prepare([str(write_folder(tmp_path / "photos", FILES))], tmp_path / "a")
    second = prepare([str(write_zip(tmp_path / "photos.zip", FILES))], tmp_path / "b")
    assert first.sha256 == second.sha256
    assert names(tmp_path / "a") == names(tmp_path / "b")


def test_a_preparation_that_broke_off_is_begun_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = str(write_folder(tmp_path / "photos", FILES))

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_table", fail)
        with pytest.raises(KeyboardInterrupt):
            prepare([source], tmp_path / "out")
    assert read_record(tmp_path / "out") is None
    (tmp_path / "out" / "images" / "train" / "dark" / "stray.png").write_bytes(b"")
    prepare([source], tmp_path / "out")
    assert not (tmp_path / "out" / UNFINISHED).exists()
    assert not list((tmp_path / "out").rglob("stray.png"))


def test_a_folder_with_other_things_in_it_is_left_alone(tmp_path: Path) -> None:
    source = str(write_folder(tmp_path / "photos", FILES))
    with pytest.raises(UsageError, match="holds other things"):
        prepare([source], tmp_path / "photos")
    assert names(tmp_path / "photos") == sorted(FILES)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / RECORD).write_text("{}")
    with pytest.raises(UsageError, match=RECORD):
        prepare([source], tmp_path / "out")


def test_unreadable_test_images_are_told_or_skipped(tmp_path: Path) -> None:
    source = str(write_folder(tmp_path / "photos", FILES))
    test = str(write_folder(tmp_path / "test", {"dark/bad.png": encoded("PNG")[:100], "dark/good.png": encoded("PNG")}))
    with pytest.raises(DatasetError, match=r"dark/bad\.png"):
        prepare([source], tmp_path / "out", test=[test])
    assert prepare([source], tmp_path / "out", test=[test], skip_unreadable=True).test_images == 1


def test_a_zip_that_points_outside_is_refused_as_a_whole(tmp_path: Path) -> None:
    wicked = FILES | {"x/../../dark/evil.png": encoded("PNG")}
    with pytest.raises(DatasetError, match="leads out of it"):
        prepare([str(write_zip(tmp_path / "wicked.zip", wicked))], tmp_path / "in" / "out")
    assert not list(tmp_path.rglob("*.png"))


def test_several_sources_are_gathered_into_one_zip_once(tmp_path: Path) -> None:
    sources = [
        str(write_zip(tmp_path / "a.zip", FILES)),
        str(write_folder(tmp_path / "b", labelled({"dark": 3, "bright": 3}, "BMP"))),
    ]
    made = gather(sources, tmp_path / "gathered", left_out=["dark/9.png"])
    assert names(made) == ["photos.zip"]
    before = (made / "photos.zip").stat().st_mtime_ns
    assert gather(sources, tmp_path / "gathered", left_out=["dark/9.png"]) == made
    assert (made / "photos.zip").stat().st_mtime_ns == before
    assert gather(sources, tmp_path / "gathered") != made
    record = prepare([str(made)], tmp_path / "out")
    direct = prepare(sources, tmp_path / "direct", left_out=["dark/9.png"])
    assert digests(tmp_path / "out" / "images" / "train") == digests(tmp_path / "direct" / "images" / "train")
    assert (record.counts.train, record.counts.validation) == (direct.counts.train, direct.counts.validation)
    with pytest.raises(DatasetError, match="in none of the sources: sea/1"):
        gather(sources, tmp_path / "gathered", left_out=["sea/1.jpg"])


READ = "import mltable, sys; print(mltable.load(sys.argv[1]).to_pandas_dataframe().to_json(orient='records'))"


def rows(table: Path) -> list[dict[str, Any]]:
    """What Azure's library makes of a table, in a process of its own: its native threads have crashed one that they shared."""
    if find_spec("mltable") is None:
        pytest.skip("mltable is installed on Linux x86-64 only")
    read = subprocess.run([sys.executable, "-c", READ, str(table)], capture_output=True, text=True, check=False)
    if read.returncode:
        raise ValueError(read.stderr)
    found: list[dict[str, Any]] = json.loads(read.stdout.splitlines()[-1])
    return found


def test_azures_library_reads_the_tables(tmp_path: Path) -> None:
    source = str(write_folder(tmp_path / "photos", {name.replace("dark", "dark sky"): data for name, data in FILES.items()}))
    record = prepare([source], tmp_path / "out")
    for split, count in (("train", record.counts.train), ("validation", record.counts.validation)):
        found = rows(tmp_path / "out" / split)
        assert len(found) == count
        lines = [json.loads(line) for line in (tmp_path / "out" / split / "annotations.jsonl").read_text().splitlines()]
        assert [row["label"] for row in found] == [line["label"] for line in lines]
        assert {tuple(sorted(row)) for row in found} == {("image_url", "label")}
        assert {row["label"] for row in found} == {"dark sky", "bright"}
        for line in lines:
            assert (tmp_path / "out" / split / line["image_url"]).is_file(), "relative to the table"


def test_a_table_with_a_wrong_transformation_is_refused_by_azures_library(tmp_path: Path) -> None:
    prepare([str(write_folder(tmp_path / "photos", FILES))], tmp_path / "out")
    table = tmp_path / "out" / "train" / "MLTable"
    table.write_text(table.read_text().replace("convert_column_types", "convert_columns"))
    with pytest.raises(ValueError, match=r"(?i)transformation|convert_columns|schema|valid"):
        rows(table.parent)
