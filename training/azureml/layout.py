"""What prepared data is: class folders for each split, and beside them the tables of it that Azure's AutoML reads.

images/{train,validation,test}/CLASS/FILE
{train,validation,test}/annotations.jsonl + MLTable     of each split
prepared.json                                           where it came from; written last
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Literal, TypeAlias, get_args

from pydantic import BaseModel, ConfigDict

from models.errors import UsageError
from models.metadata import Counts, DataFile

Split: TypeAlias = Literal["train", "validation", "test"]
SPLITS: Sequence[Split] = get_args(Split)

IMAGES = "images"
RECORD = "prepared.json"
UNFINISHED = ".unfinished"
ANNOTATIONS = "annotations.jsonl"

MLTABLE = f"""\
type: mltable
paths:
  - file: ./{ANNOTATIONS}
transformations:
  - read_json_lines:
      encoding: utf8
      invalid_lines: error
      include_path_column: false
  - convert_column_types:
      - columns: image_url
        column_type: stream_info
"""


class Request(BaseModel):
    """What decides how images are cut."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sources: list[DataFile]
    test: list[DataFile]
    excluded: list[DataFile]
    left_out: list[str]
    skip_unreadable: bool


class Record(BaseModel):
    """What `prepared.json` says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    request: Request
    labels: list[str]
    counts: Counts
    test_images: int
    sha256: str
    """Of all paths under `images/` and what is in them."""


def read_record(folder: Path) -> Record | None:
    """What was prepared in a folder; None if that was not brought to its end."""
    path = folder / RECORD
    try:
        return Record.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as exc:
        raise UsageError(f"{path} can't be read; prepare the data anew, in another folder") from exc


def annotations(images: Mapping[Split, Sequence[PurePosixPath]], split: Split, prefix: str) -> str:
    """The lines of a split's `annotations.jsonl`, a JSON object for each of its images (CLASS/FILE).

    As Azure's "Data schemas to train computer vision models with automated machine learning" has it. `prefix`: what stands for
    the folder `images/`, as in `azureml://.../images`.
    """
    lines = [{"image_url": f"{prefix}/{split}/{path}", "label": path.parent.name} for path in sorted(images[split])]
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def write_table(folder: Path, lines: str) -> None:
    """Write a table: its lines, and the MLTable that says how to read them."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ANNOTATIONS).write_text(lines, encoding="utf-8")
    (folder / "MLTable").write_text(MLTABLE, encoding="utf-8")


def images_in(folder: Path) -> dict[Split, list[PurePosixPath]]:
    """The images of each split that is there, as CLASS/FILE."""
    found: dict[Split, list[PurePosixPath]] = {}
    for split in SPLITS:
        root = folder / IMAGES / split
        if root.is_dir():
            found[split] = sorted(PurePosixPath(path.relative_to(root).as_posix()) for path in root.glob("*/*"))
    return found
