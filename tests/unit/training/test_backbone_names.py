"""Names of backbones: what libraries and Azure call them, and what is told of a wrong one."""

import keras
import pytest

from models.errors import UsageError
from training.backbone_names import APPLICATIONS, AZURE, BackboneName, default_side, understand


def test_every_network_of_keras_applications_is_known_and_no_other() -> None:
    offered = {name for name in dir(keras.applications) if name[0].isupper()}
    assert set(APPLICATIONS) == offered
    for module, _ in APPLICATIONS.values():
        assert callable(getattr(keras.applications, module).preprocess_input)


@pytest.mark.parametrize("name", ["InceptionResNetV2", "inception_resnet_v2", "inceptionresnetv2", "Inception-ResNet-V2"])
def test_names_are_understood_however_they_are_spelt(name: str) -> None:
    assert understand(name) == [BackboneName("application", "InceptionResNetV2", 299)]


@pytest.mark.parametrize(
    ("name", "side"),
    [("efficientnet_lite0", 224), ("efficientnet_lite2", 260), ("EfficientNetB3", 300), ("Xception", 299), ("VGG16", 224)],
)
def test_a_backbone_has_a_size_that_it_was_made_for(name: str, side: int) -> None:
    assert default_side(name) == side


def test_joined_backbones_are_several_and_take_the_largest_size() -> None:
    assert [name.full for name in understand("efficientnet_lite0 + efficientnet_lite2")] == [
        "efficientnet_lite0",
        "efficientnet_lite2",
    ]
    assert default_side("efficientnet_lite0+efficientnet_lite2") == 260


def test_a_preset_of_keras_hub_is_left_to_keras_hub() -> None:
    (name,) = understand("keras_hub:hf://someone/vit")
    assert (name.kind, name.name, name.side, name.full) == ("hub", "hf://someone/vit", None, "keras_hub:hf://someone/vit")
    assert default_side("keras_hub:a+ResNet50") is None


@pytest.mark.parametrize(
    ("azure", "ours"),
    [
        ("mobilenetv2", "MobileNetV2"),
        ("resnet50", "ResNet50"),
        ("resnet152", "ResNet152"),
        ("vitb16r224", "keras_hub:vit_base_patch16_224_imagenet"),
        ("vitl16r224", "keras_hub:vit_large_patch16_224_imagenet"),
    ],
)
def test_the_names_of_azure_s_automl_are_ours(azure: str, ours: str) -> None:
    assert [name.full for name in understand(azure)] == [ours]


@pytest.mark.parametrize("name", [name for name, ours in AZURE.items() if ours is None])
def test_a_network_of_azure_s_that_nobody_has_is_refused_by_name(name: str) -> None:
    with pytest.raises(UsageError, match=f"{name} is a network of Azure's AutoML .* There are: efficientnet_lite0"):
        understand(name)


@pytest.mark.parametrize(
    ("name", "meant"), [("mobilenet_v4", "MobileNet"), ("efficientnetlite1", "efficientnet_lite"), ("resnet51", "ResNet5")]
)
def test_a_wrong_name_is_refused_with_the_nearest_and_all_there_are(name: str, meant: str) -> None:
    with pytest.raises(UsageError) as raised:
        understand(name)
    for part in (
        f"no backbone '{name}'. Did you mean {meant}",
        "efficientnet_lite2",
        "ConvNeXtTiny",
        "keras_hub:PRESET",
        "vitb16r224",
    ):
        assert part in str(raised.value)


@pytest.mark.parametrize("name", ["", "+", "keras_hub:", "efficientnet_lite0+", "zzz"])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="there is no backbone"):
        understand(name)
