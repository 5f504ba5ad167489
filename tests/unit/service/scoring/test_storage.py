"""Sets that lie on storage elsewhere: read in place, and only from where it is allowed."""

from collections.abc import Iterator
from typing import Any, ClassVar

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from models.errors import DatasetError, ImageTooLarge, UnreadableImage
from service.errors import UnknownDataset
from service.scoring.jobs import Task
from service.scoring.library import Library
from service.scoring.sources import Source
from service.settings import load_settings
from tests.support.images import labelled, write_zip

FILES = labelled({"dark": 2, "bright": 1})
TASKS = [Task("bright/1.png", "bright"), Task("dark/1.png", "dark"), Task("dark/2.png", "dark")]


class Shelf(MemoryFileSystem):  # type: ignore[misc]  # fsspec ships no types
    """Storage of a kind of its own: that of memory is refused for good."""

    protocol = ("shelf",)
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(MemoryFileSystem._strip_protocol(path.replace("shelf://", "memory://")))


@pytest.fixture(autouse=True)
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    fsspec.register_implementation("shelf", Shelf, clobber=True)
    storage = fsspec.filesystem("shelf")
    packed = write_zip(tmp_path_factory.mktemp("zip") / "set.zip", {f"wrapper/{name}": data for name, data in FILES.items()})
    storage.pipe({f"/bucket/set/{name}": data for name, data in FILES.items()})
    storage.pipe({"/bucket/set.zip": packed.read_bytes(), "/bucket/cut.zip": packed.read_bytes()[:100]})
    storage.pipe({f"/bucket/both/{split}/{name}": data for split in ("train", "test") for name, data in FILES.items()})
    yield
    Shelf.store.clear()


def opened(name: str) -> Source:
    library = Library(load_settings(datasets_allow=["shelf://bucket/", "https://example.org/"]))
    return library.open(library.find(name))


@pytest.mark.parametrize("name", ["shelf://bucket/set.zip", "shelf://bucket/set/", "shelf://bucket/both/#test"])
def test_a_zip_and_a_folder_are_read_in_place(name: str) -> None:
    source = opened(name)
    try:
        assert source.tasks() == TASKS
        assert {task.image: source.read(task.image, 10_000) for task in TASKS} == FILES
        with pytest.raises(ImageTooLarge):
            source.read("dark/1.png", 10)
        with pytest.raises(UnreadableImage):
            source.read("dark/9.png", 10_000)
    finally:
        source.close()


def test_a_job_that_goes_on_finds_its_images_without_listing_them() -> None:
    library = Library(load_settings(datasets_allow=["shelf://bucket/"]))
    for name in ("shelf://bucket/set.zip", "shelf://bucket/both/#train"):
        source = library.open(library.find(name))
        source.tasks()
        again = library.reopen({"name": name, "prefix": source.prefix})
        assert again.read("dark/1.png", 10_000) == FILES["dark/1.png"]
        source.close()
        again.close()


@pytest.mark.parametrize(
    ("name", "error", "why"),
    [
        ("shelf://other/set.zip", UnknownDataset, "PARALLAX_DATASETS_ALLOW"),
        ("shelf://bucket/../other/", UnknownDataset, "elsewhere"),
        ("https://example.org/set.zip", UnknownDataset, "Download it"),
        ("shelf://bucket/none.zip", DatasetError, "can't be opened"),
        ("shelf://bucket/cut.zip", DatasetError, "not a zip file"),
        ("shelf://bucket/none/", DatasetError, "holds no image"),
    ],
)
def test_what_can_not_be_read_is_refused_with_the_reason(name: str, error: type[Exception], why: str) -> None:
    with pytest.raises(error, match=why):
        opened(name).tasks()
