"""The stand-in keeps the contract as the real SDK sees it, so that what is tried against it means something."""

import io
from typing import Any

import pytest
from azure.cognitiveservices.vision.customvision.training.models import (
    CustomVisionErrorException,
    ImageFileCreateBatch,
    ImageFileCreateEntry,
)

from tests.support.images import encoded, labelled, plain
from tests.unit.training.customvision.conftest import RESOURCE, Cloud


def client(cloud: Cloud, key: str | None = None) -> Any:  # noqa: ANN401
    return (cloud.training(key) if key else cloud.training()).client


def batch(images: list[bytes], tags: list[str]) -> ImageFileCreateBatch:
    pairs = [
        ImageFileCreateEntry(name=f"{number}", contents=data, tag_ids=[tags[number % len(tags)]])
        for number, data in enumerate(images)
    ]
    return ImageFileCreateBatch(images=pairs)


def code_of(caught: pytest.ExceptionInfo[CustomVisionErrorException]) -> str:
    return str(caught.value.error.code)


def test_a_batch_tells_of_each_image(cloud: Cloud) -> None:
    sdk = client(cloud)
    project = sdk.create_project("p", classification_type="Multiclass", domain_id="0732100f-1a38-4e49-a514-c9b44c697ab5")
    tag = sdk.create_tag(project.id, "sea")
    data = [plain(1), plain(1), b"text", encoded("WEBP"), encoded("GIF"), plain(2, "BMP", 2000, 1500)]
    found = sdk.create_images_from_files(project.id, batch(data, [tag.id]))
    assert not found.is_batch_successful
    assert [one.status for one in found.images] == ["OK", "OKDuplicate", *["ErrorImageFormat"] * 2, "OK", "ErrorImageSize"]
    assert [one.source_url for one in found.images] == [str(number) for number in range(6)]
    assert found.images[1].image.id == found.images[0].image.id
    assert sdk.create_images_from_files(project.id, batch([plain(9)], [tag.id])).is_batch_successful
    (wrong,) = sdk.create_images_from_files(project.id, batch([plain(8)], ["no-such-tag"])).images
    assert wrong.status == "ErrorInvalidTag"
    assert sdk.get_image_count(project.id) == sdk.get_tagged_image_count(project.id) == 3
    assert sdk.get_tags(project.id)[0].image_count == 3
    assert [one.tags[0].tag_name for one in sdk.get_tagged_images(project.id, take=2, skip=1)] == ["sea", "sea"]


@pytest.mark.parametrize("wrap", [bytes, io.BytesIO], ids=["bytes", "BytesIO"])
def test_an_image_by_itself(cloud: Cloud, wrap: Any) -> None:  # noqa: ANN401
    sdk = client(cloud)
    project = sdk.create_project("p", classification_type="Multiclass")
    tag = sdk.create_tag(project.id, "sea")
    large = plain(2, "BMP", 1000, 1000)
    assert sdk.create_images_from_data(project.id, wrap(large), [tag.id]).images[0].status == "OK"
    assert next(iter(cloud.account.projects[project.id].images.values())).data == large


def test_limits_of_a_batch(cloud: Cloud) -> None:
    sdk = client(cloud)
    project = sdk.create_project("p", classification_type="Multiclass")
    tags = [sdk.create_tag(project.id, f"{number}").id for number in range(21)]
    with pytest.raises(CustomVisionErrorException) as caught:
        sdk.create_images_from_files(project.id, batch([plain(1)] * 65, tags[:1]))
    assert code_of(caught) == "BadRequestExceededBatchSize"
    with pytest.raises(CustomVisionErrorException) as caught:
        sdk.create_images_from_files(project.id, batch([plain(1)] * 21, tags))
    assert code_of(caught) == "BadRequestImageTags"


def test_the_free_tier_holds_less(cloud: Cloud) -> None:
    cloud.account.tier = "F0"
    sdk = client(cloud)
    project = sdk.create_project("p", classification_type="Multiclass")
    sdk.create_project("q", classification_type="Multiclass")
    with pytest.raises(CustomVisionErrorException) as caught:
        sdk.create_project("r", classification_type="Multiclass")
    assert code_of(caught) == "BadRequestExceedProjectLimit"
    for number in range(50):
        sdk.create_tag(project.id, f"{number}")
    with pytest.raises(CustomVisionErrorException) as caught:
        sdk.create_tag(project.id, "50")
    assert code_of(caught) == "BadRequestExceedTagPerProjectLimit"


def test_a_training_s_way(cloud: Cloud) -> None:
    sdk = client(cloud)
    project = cloud.filled(labelled({"dark": 5, "bright": 4}, width=16, height=16))
    with pytest.raises(CustomVisionErrorException) as caught:
        sdk.train_project(project.id)
    assert code_of(caught) == "BadRequestMultiClassClassificationTrainingValidationFailed"
    sdk.create_images_from_files(project.id, batch([plain(250)], [project.tags[1].id]))
    iteration = sdk.train_project(project.id, reserved_budget_in_hours=0)
    with pytest.raises(CustomVisionErrorException) as caught:
        sdk.train_project(project.id)
    assert code_of(caught) == "BadRequestTrainingAlreadyInProgress"
    with pytest.raises(CustomVisionErrorException) as caught:
        sdk.publish_iteration(project.id, iteration.id, "p", RESOURCE)
    assert code_of(caught) == "BadRequestIterationIsNotTrained"
    assert [sdk.get_iteration(project.id, iteration.id).status for _ in range(4)] == ["Training", "Training", *["Completed"] * 2]
    with pytest.raises(CustomVisionErrorException) as caught:
        sdk.publish_iteration(project.id, iteration.id, "p", "a-subscription")
    assert code_of(caught) == "BadRequestInvalidPublishTarget"
    assert sdk.publish_iteration(project.id, iteration.id, "p", RESOURCE) is True
    sdk.unpublish_iteration(project.id, iteration.id)
    with pytest.raises(CustomVisionErrorException) as caught:
        sdk.unpublish_iteration(project.id, iteration.id)
    assert code_of(caught) == "BadRequestIterationNotPublished"
    assert sdk.export_iteration(project.id, iteration.id, "ONNX", flavor="ONNX12").status == "Exporting"
    with pytest.raises(CustomVisionErrorException) as caught:
        sdk.export_iteration(project.id, iteration.id, "ONNX", flavor="ONNX12")
    assert code_of(caught) == "BadRequestExportAlreadyInProgress"
    assert [sdk.get_exports(project.id, iteration.id)[0].status for _ in range(3)] == ["Exporting", "Exporting", "Done"]


def test_the_gateway_has_words_of_its_own(cloud: Cloud) -> None:
    with pytest.raises(CustomVisionErrorException) as caught:
        client(cloud, "another-key").get_domains()
    assert caught.value.error.code is None, "nested, so the SDK sees no code"
    assert '"401"' in caught.value.response.text
    cloud.script.rate = 3
    sdk = client(cloud)
    for _ in range(3):
        sdk.get_domains()
    with pytest.raises(CustomVisionErrorException) as caught:
        sdk.get_domains()
    assert "Please retry after 1 second" in caught.value.response.text
    assert cloud.script.throttled == 1
    cloud.script.rate = None
    with pytest.raises(CustomVisionErrorException) as caught:
        sdk.get_project("11111111-1111-1111-1111-111111111111")
    assert code_of(caught) == "NotFoundProject"
