"""A project's images come home once, in folders that any system takes."""

import json
from pathlib import Path

import pytest

from models.datasets import open_dataset
from models.errors import UsageError
from tests.support.custom_vision.script import Fault
from tests.support.custom_vision.state import StoredImage
from tests.support.images import labelled, plain
from tests.unit.training.customvision.conftest import Cloud
from training.customvision import download, projects
from training.customvision import pull as module
from training.customvision.projects import Tag
from training.customvision.pull import Pulled, Several, folder_names, pull


def bring(cloud: Cloud, out: Path, several: Several = "leave-out") -> Pulled:
    service = cloud.training()
    return pull(service, projects.require(service, "scenes"), out, several=several, workers=3)


def test_pages_of_images_become_class_folders_and_are_fetched_once(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projects, "PAGE", 7)
    monkeypatch.setattr(module, "PASS", 10)
    files = labelled({"dark": 15, "bright": 14}, "JPEG", width=16, height=16)
    project = cloud.filled(files)
    project.images["untagged"] = StoredImage(plain(77), [])
    out = tmp_path / "home"
    done = bring(cloud, out)
    assert (done.images, done.fetched, done.several, done.problems) == (29, 29, [], [])
    with open_dataset(str(out)) as found:
        assert sorted((one.label, one.data) for one in found) == sorted(
            (path.split("/")[0], data) for path, data in files.items()
        )
    assert json.loads((out / "pulled.json").read_text())["folders"] == {"bright": "bright", "dark": "dark"}
    victim = next(out.glob("dark/*.jpg"))
    victim.unlink()
    again = bring(cloud, out)
    assert (again.images, again.fetched) == (29, 1)
    assert victim.exists()
    assert cloud.script.keys_at_storage == 0


def test_images_with_several_tags_are_left_out_unless_asked_for(cloud: Cloud, tmp_path: Path) -> None:
    project = cloud.filled(labelled({"dark": 2, "bright": 2}, width=16, height=16))
    both = StoredImage(plain(128), [tag.id for tag in project.tags])
    project.images[both.id] = both
    done = bring(cloud, tmp_path / "a")
    assert (done.images, done.several) == (4, [both.id])
    assert json.loads((tmp_path / "a" / "pulled.json").read_text())["several_tags_left_out"] == [both.id]
    done = bring(cloud, tmp_path / "b", "each")
    assert (done.images, done.several) == (5, [])
    assert len(list((tmp_path / "b").glob(f"*/{both.id}.png"))) == 2


def test_an_image_that_cannot_be_had_is_named_and_a_passing_fault_is_not(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "PAUSE_S", 0.0)
    project = cloud.filled(labelled({"dark": 2, "bright": 2}, width=16, height=16))
    gone, late, page, _ = project.images
    cloud.script.faults = [Fault(gone, 404), Fault(late, 500), Fault(page, 200, b"<html>not an image</html>")]
    done = bring(cloud, tmp_path / "home")
    assert done.images == 2
    assert {one.path for one in done.problems} == {gone, page}
    assert "sig=" not in "".join(one.reason for one in done.problems)
    assert bring(cloud, tmp_path / "home").fetched == 2


def test_a_folder_of_something_else_is_left_alone(cloud: Cloud, tmp_path: Path) -> None:
    cloud.filled({"dark/1.png": plain(3)})
    bring(cloud, tmp_path / "home")
    cloud.filled({}, "other")
    service = cloud.training()
    other = projects.require(service, "other")
    with pytest.raises(UsageError, match="holds images of another project"):
        pull(service, other, tmp_path / "home")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="is not empty, and nothing in it says that it is scenes"):
        bring(cloud, tmp_path / "full")


def test_names_of_tags_become_names_of_folders() -> None:
    names = ["sea", "SEA", "../up", "a/b", "con", "...", "", "\u010derven\u00fd", "x" * 200, "a:b"]
    found = list(folder_names([Tag(f"{number}2345678-id", name, 0) for number, name in enumerate(names)]).values())
    assert found[:3] == ["sea", "SEA_12345678", "_up"]
    assert found[3:8] == ["a_b", "tag_con", "tag", "tag_62345678", "\u010derven\u00fd"]
    assert found[8] == "x" * 100
    assert found[9] == "a_b_92345678"
    assert len({name.lower() for name in found}) == len(found)
    assert not any("/" in name or name in (".", "..") for name in found)
