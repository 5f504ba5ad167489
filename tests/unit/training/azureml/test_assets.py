"""Prepared data becomes data assets, once."""

import json
from pathlib import Path

import pytest

from models.errors import UsageError
from tests.support.images import labelled, write_folder
from tests.unit.training.azureml.conftest import Client
from training.azureml.assets import upload
from training.azureml.layout import Record
from training.azureml.prepare import prepare

PREFIX = "azureml://subscriptions/s/resourcegroups/g/workspaces/w/datastores/d/paths"


@pytest.fixture
def prepared(tmp_path: Path) -> tuple[Path, Record]:
    source = write_folder(tmp_path / "photos", labelled({"dark": 10, "bright": 10}))
    test = write_folder(tmp_path / "kept back", labelled({"dark": 2, "bright": 2}, "BMP"))
    return tmp_path / "out", prepare([str(source)], tmp_path / "out", test=[str(test)])


def test_the_images_go_first_and_the_tables_say_where_they_are(client: Client, prepared: tuple[Path, Record]) -> None:
    folder, record = prepared
    sent = upload(client, folder, record, "scenes")
    assert sent.images == f"azureml:scenes-images:{record.sha256[:16]}"
    assert list(sent.tables) == ["train", "validation", "test"]
    made = client.data.made
    assert [(one.name, one.type) for one in made] == [
        ("scenes-images", "uri_folder"),
        ("scenes-train", "mltable"),
        ("scenes-validation", "mltable"),
        ("scenes-test", "mltable"),
    ]
    images = client.data.contents[0]
    for one, contents in zip(made[1:], client.data.contents[1:], strict=True):
        split = one.name.removeprefix("scenes-")
        assert set(contents) == {"MLTable", "annotations.jsonl"}
        for line in map(json.loads, contents["annotations.jsonl"].decode().splitlines()):
            start, _, path = line["image_url"].partition("/images/")
            assert start == f"{PREFIX}/scenes-images"
            assert path in images
            assert path.split("/")[:2] == [split, line["label"]]
        assert sent.tables[split] == f"azureml:{one.name}:{one.version}"


def test_what_is_there_is_not_sent_again(client: Client, prepared: tuple[Path, Record]) -> None:
    told: list[str] = []
    first = upload(client, *prepared, "scenes")
    assert upload(client, *prepared, "scenes", told.append) == first
    assert len(client.data.made) == 4
    assert all("there already" in line for line in told)


def test_what_azure_refuses_is_told_in_a_line(client: Client, prepared: tuple[Path, Record]) -> None:
    from azure.core.exceptions import ClientAuthenticationError, HttpResponseError

    client.data.error = ClientAuthenticationError("DefaultAzureCredential failed to retrieve a token\n...")
    with pytest.raises(UsageError, match="az login"):
        upload(client, *prepared, "scenes")
    client.data.error = HttpResponseError("(Forbidden) no\n\n----\nCode: Forbidden")
    with pytest.raises(UsageError, match=r"data asset scenes-images: \(Forbidden\) no Code: Forbidden"):
        upload(client, *prepared, "scenes")
