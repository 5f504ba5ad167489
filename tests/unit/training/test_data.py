"""Sources become a training set: cut by what the images show, without what must not be learnt from."""

import io
import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models import imaging
from models.datasets import LIMITS
from models.errors import DatasetError
from models.metadata import Counts, InputSpec
from tests.support.images import encode, encoded, labelled, plain, write_folder, write_zip
from training.data import Advance, TrainingSet, pixel_digest, prepare

SPEC = InputSpec(height=16, width=16)

Files = dict[str, bytes]


def bmp(data: bytes) -> bytes:
    """The same pixels in another format."""
    with Image.open(io.BytesIO(data)) as image:
        return encode(image, "BMP")


class Sources:
    """Writes sources and prepares them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.number = 0

    def write(self, files: Files) -> str:
        self.number += 1
        return str(write_folder(self.folder / f"source{self.number}", files))

    def prepare(
        self, *files: Files, excluded: Files | None = None, left_out: tuple[str, ...] = (), skip: bool = False
    ) -> TrainingSet:
        return prepare(
            [self.write(each) for each in files],
            [self.write(excluded)] if excluded else [],
            SPEC,
            self.folder / f"pixels{self.number}.npy",
            left_out=left_out,
            skip_unreadable=skip,
        )


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    return Sources(tmp_path)


def shown(data: TrainingSet, rows: np.ndarray) -> list[tuple[str, str]]:
    """Label and pixels of some rows, in an order of their own."""
    return sorted((data.labels[data.targets[row]], pixel_digest(data.pixels[row])) for row in rows)


TWENTY = labelled({"dark": 20, "bright": 20})


def test_every_image_is_decoded_as_for_the_service(sources: Sources) -> None:
    data = sources.prepare(TWENTY)
    assert data.labels == ["bright", "dark"]
    assert data.pixels.shape == (40, 16, 16, 3)
    for row, (path, image) in enumerate(sorted(TWENTY.items())):
        assert data.labels[data.targets[row]] == path.partition("/")[0]
        np.testing.assert_array_equal(data.pixels[row], imaging.load(image, SPEC, LIMITS))
    assert sorted([*data.train, *data.validation]) == list(range(40))
    assert data.counts == Counts(
        found=40, left_out=0, unreadable=0, in_excluded_set=0, conflicting_duplicates=0, train=36, validation=4
    )
    assert [(facts.name, facts.images) for facts in data.data] == [("source1", 40)]
    assert data.excluded == []


@pytest.mark.parametrize(("dark", "bright"), [(2, 2), (10, 20), (11, 99), (30, 3)])
def test_validation_takes_a_tenth_of_every_class_and_at_least_one(sources: Sources, dark: int, bright: int) -> None:
    data = sources.prepare(labelled({"dark": dark, "bright": bright}))
    found = np.bincount(data.targets[data.validation], minlength=2).tolist()
    assert found == [-(-bright // 10), -(-dark // 10)]
    assert not set(data.train) & set(data.validation)


def test_validation_takes_the_smallest_digests_of_every_class(sources: Sources) -> None:
    data = sources.prepare(TWENTY)
    expected = {
        digest
        for label in ("dark", "bright")
        for digest in sorted(pixel_digest(imaging.decode(TWENTY[f"{label}/{number}.png"])) for number in range(1, 21))[:2]
    }
    decoded = [pixel_digest(imaging.decode(image)) for _, image in sorted(TWENTY.items())]
    assert {decoded[row] for row in data.validation} == expected


def test_the_cut_follows_what_images_show_not_names_order_or_format(sources: Sources) -> None:
    first = sources.prepare(TWENTY)
    names = list(TWENTY)
    random.Random(1).shuffle(names)
    renamed = {
        f"{name.partition('/')[0]}/{place}{'.bmp' if place % 2 else '.png'}": bmp(TWENTY[name]) if place % 2 else TWENTY[name]
        for place, name in enumerate(names)
    }
    second = sources.prepare(dict(list(renamed.items())[:13]), dict(list(renamed.items())[13:]))
    assert shown(first, first.validation) == shown(second, second.validation)
    assert shown(first, first.train) == shown(second, second.train)


def test_more_images_of_one_class_move_none_of_another(sources: Sources) -> None:
    first = sources.prepare(TWENTY)
    second = sources.prepare(TWENTY | {f"bright/more{i}.png": encoded("PNG", seed=900 + i) for i in range(7)})
    for rows in ("train", "validation"):
        dark = [[entry for entry in shown(data, getattr(data, rows)) if entry[0] == "dark"] for data in (first, second)]
        assert dark[0] == dark[1]


def test_copies_of_an_image_stay_on_one_side(sources: Sources) -> None:
    copies = {f"{path[:-4]}-copy{i}.bmp": bmp(image) for path, image in TWENTY.items() for i in range(3)}
    data = sources.prepare(TWENTY | copies)
    train, validation = ({pixel_digest(data.pixels[row]) for row in rows} for rows in (data.train, data.validation))
    assert not train & validation
    assert (len(train), len(validation)) == (36, 4)
    assert (data.counts.train, data.counts.validation) == (36 * 4, 4 * 4)


def test_copies_under_two_labels_are_dropped_and_counted(sources: Sources) -> None:
    twins = {
        "dark/1a.png": encoded("PNG", seed=77),
        "bright/1a.bmp": encoded("BMP", seed=77),
        "bright/2a.png": encoded("PNG", seed=77),
    }
    data = sources.prepare(TWENTY | twins)
    assert data.counts.conflicting_duplicates == 3
    assert data.counts.found == 43
    assert data.counts.train + data.counts.validation == 40
    twin = pixel_digest(imaging.load(encoded("PNG", seed=77), SPEC))
    assert twin not in {digest for _, digest in shown(data, np.concatenate([data.train, data.validation]))}


def test_an_image_of_the_excluded_set_is_never_learnt_from_in_whatever_guise(sources: Sources) -> None:
    tested = {f"other/{place}.bmp": bmp(image) for place, image in enumerate(list(TWENTY.values())[::4])}
    data = sources.prepare(TWENTY, excluded=tested)
    assert data.counts.in_excluded_set == 10
    assert data.counts.train + data.counts.validation == 30
    kept = {digest for _, digest in shown(data, np.concatenate([data.train, data.validation]))}
    assert kept.isdisjoint(pixel_digest(imaging.load(image, SPEC)) for image in tested.values())
    assert [(facts.name, facts.images) for facts in data.excluded] == [("source2", 10)]


def test_only_equal_pixels_are_excluded(sources: Sources) -> None:
    nearly = bytearray(bmp(TWENTY["dark/1.png"]))
    nearly[-1] ^= 1
    assert sources.prepare(TWENTY, excluded={"x/1.bmp": bytes(nearly)}).counts.in_excluded_set == 0


def test_what_is_excluded_is_no_conflict(sources: Sources) -> None:
    twins = {"dark/twin.png": encoded("PNG", seed=77), "bright/twin.png": encoded("PNG", seed=77)}
    counts = sources.prepare(TWENTY | twins, excluded={"x/1.png": encoded("PNG", seed=77)}).counts
    assert (counts.in_excluded_set, counts.conflicting_duplicates) == (2, 0)


def test_an_excluded_set_may_hold_unreadable_files(sources: Sources) -> None:
    data = sources.prepare(TWENTY, excluded={"x/1.png": TWENTY["dark/1.png"], "x/2.jpg": b"no image"})
    assert data.counts.in_excluded_set == 1


def test_images_are_left_out_by_name(sources: Sources) -> None:
    data = sources.prepare(TWENTY, left_out=("dark/3.png", "bright/3.png"))
    assert (data.counts.left_out, data.counts.train + data.counts.validation) == (2, 38)
    gone = {pixel_digest(imaging.load(TWENTY[path], SPEC)) for path in ("dark/3.png", "bright/3.png")}
    assert gone.isdisjoint(digest for _, digest in shown(data, np.concatenate([data.train, data.validation])))


def test_a_name_to_leave_out_that_is_nowhere_is_refused(sources: Sources) -> None:
    with pytest.raises(DatasetError, match=r"to be left out, but in none of the sources: dark/99\.png, sea/1\.png"):
        sources.prepare(TWENTY, left_out=("sea/1.png", "dark/1.png", "dark/99.png"))


def test_a_conflict_is_settled_by_leaving_one_side_out(sources: Sources) -> None:
    twins = {"dark/twin.png": encoded("PNG", seed=77), "bright/twin.png": encoded("PNG", seed=77)}
    counts = sources.prepare(TWENTY | twins, left_out=("bright/twin.png",)).counts
    assert (counts.conflicting_duplicates, counts.left_out, counts.train + counts.validation) == (0, 1, 41)


BAD = {"dark/bad.jpg": encoded()[:200], "bright/empty.png": b"", "bright/tiny.png": plain(0, "PNG", 4, 4)}


def test_unreadable_images_are_named(sources: Sources) -> None:
    with pytest.raises(DatasetError) as raised:
        sources.prepare(TWENTY | BAD)
    message = str(raised.value)
    assert message.startswith("unreadable: 3 of 43 images (--skip-unreadable goes on without them):")
    assert "dark/bad.jpg: The JPEG file is truncated or corrupt" in message
    assert "bright/empty.png: There are no bytes" in message
    assert "bright/tiny.png: The image is 4 x 4 pixels" in message


def test_unreadable_images_are_skipped_if_asked_and_counted(sources: Sources) -> None:
    data = sources.prepare(TWENTY | BAD, skip=True)
    assert (data.counts.unreadable, data.counts.found, data.counts.train + data.counts.validation) == (3, 43, 40)
    assert [line.partition(":")[0] for line in data.unreadable] == ["bright/empty.png", "bright/tiny.png", "dark/bad.jpg"]


def test_an_unreadable_image_that_is_left_out_anyway_is_no_trouble(sources: Sources) -> None:
    data = sources.prepare(TWENTY | BAD, left_out=tuple(BAD))
    assert (data.counts.left_out, data.counts.unreadable) == (3, 0)


def test_one_class_is_refused(sources: Sources) -> None:
    with pytest.raises(DatasetError, match=r"one class only \(dark\); a classifier needs two or more"):
        sources.prepare(labelled({"dark": 5}))


@pytest.mark.parametrize(
    "few",
    [
        labelled({"bright": 1}),
        {"bright/1.png": encoded("PNG"), "bright/2.bmp": encoded("BMP")},
        {"bright/1.png": encoded("PNG"), "bright/2.png": TWENTY["dark/1.png"]},
    ],
    ids=["one", "copies", "conflict"],
)
def test_a_class_of_fewer_than_two_different_images_is_refused(sources: Sources, few: Files) -> None:
    dark = {path: image for path, image in TWENTY.items() if path.startswith("dark")}
    with pytest.raises(DatasetError, match="class 'bright' has too few usable images: it takes at least two different ones"):
        sources.prepare(dark | few)


def test_if_everything_is_excluded_the_message_is_words(sources: Sources) -> None:
    with pytest.raises(DatasetError, match="too few usable images"):
        sources.prepare(TWENTY, excluded=TWENTY)


def test_classes_may_lie_in_different_sources(sources: Sources, tmp_path: Path) -> None:
    dark, bright = ({path: image for path, image in TWENTY.items() if path.startswith(label)} for label in ("dark", "bright"))
    zipped = write_zip(tmp_path / "bright.zip", {f"seg_train/{path}": image for path, image in bright.items()})
    data = prepare([sources.write(dark), str(zipped)], [], SPEC, tmp_path / "pixels.npy")
    assert data.labels == ["bright", "dark"]
    assert data.counts.train == 36


def test_progress_is_told_of_every_image(sources: Sources, tmp_path: Path) -> None:
    told: dict[str, int] = {}
    totals: dict[str, int] = {}

    def progress(text: str, total: int) -> Advance:
        totals[text] = total
        return lambda: told.__setitem__(text, told.get(text, 0) + 1)

    prepare([sources.write(TWENTY)], [sources.write({"x/1.png": plain(9)})], SPEC, tmp_path / "pixels.npy", progress=progress)
    assert told == totals == {"excluded": 1, "decode": 40}


def test_the_pixels_stay_on_disk(sources: Sources, tmp_path: Path) -> None:
    data = prepare([sources.write(TWENTY)], [], SPEC, tmp_path / "pixels.npy")
    assert isinstance(data.pixels, np.memmap)
    np.testing.assert_array_equal(np.load(tmp_path / "pixels.npy", mmap_mode="r"), data.pixels)
