"""Prepared data as data assets of a workspace, whose version is the digest of what is in them: nothing is sent twice."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from training.azureml.layout import IMAGES, Record, Split, annotations, images_in, write_table
from training.azureml.workspace import Client, azure_errors

VERSION_DIGITS = 16


@dataclass(frozen=True)
class Uploaded:
    """References that a job can name, as `azureml:NAME:VERSION`."""

    images: str
    tables: dict[Split, str]
    """By split."""


def upload(client: Client, folder: Path, record: Record, name: str, tell: Callable[[str], None] = lambda _line: None) -> Uploaded:
    """Upload the images, then the tables, whose lines say where the images went. Raises `UsageError`.

    Assets: `NAME-images` (uri_folder), `NAME-train`, `NAME-validation`, `NAME-test` (mltable).
    """
    version = record.sha256[:VERSION_DIGITS]
    description = f"{record.counts.train} images to train, {record.counts.validation} to validate, {record.test_images} to test"
    where = _ensure(client, f"{name}-images", version, folder / IMAGES, "uri_folder", description, tell)
    images = images_in(folder)
    tables: dict[Split, str] = {}
    for split in images:
        lines = annotations(images, split, where.rstrip("/"))
        version_of_lines = hashlib.sha256(lines.encode()).hexdigest()[:VERSION_DIGITS]
        with TemporaryDirectory() as made:
            write_table(Path(made) / split, lines)
            _ensure(client, f"{name}-{split}", version_of_lines, Path(made) / split, "mltable", f"{split}: {description}", tell)
        tables[split] = f"azureml:{name}-{split}:{version_of_lines}"
    return Uploaded(f"azureml:{name}-images:{version}", tables)


def _ensure(client: Client, name: str, version: str, path: Path, kind: str, description: str, tell: Callable[[str], None]) -> str:
    """Make an asset unless it is there. Returns the address of what it holds."""
    with azure_errors(f"data asset {name}"):
        from azure.ai.ml.entities import Data
        from azure.core.exceptions import ResourceNotFoundError

        try:
            found = client.data.get(name=name, version=version)
            tell(f"{name}:{version} is there already")
        except ResourceNotFoundError:
            tell(f"{name}:{version}: uploading")
            found = client.data.create_or_update(
                Data(name=name, version=version, path=str(path), type=kind, description=description)
            )
    return str(found.path)
