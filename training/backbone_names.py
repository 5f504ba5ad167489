"""The pretrained networks that there are, by name. Knows no TensorFlow, so that a wrong name is told at once."""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal, TypeAlias

from models.errors import UsageError

Kind: TypeAlias = Literal["lite", "application", "hub"]

HUB_PREFIX = "keras_hub:"

LITE: Mapping[str, int] = {"efficientnet_lite0": 224, "efficientnet_lite2": 260}
"""Pixels that each was made for."""

_MODULES: Mapping[str, Mapping[str, int]] = {
    "convnext": dict.fromkeys(("ConvNeXtTiny", "ConvNeXtSmall", "ConvNeXtBase", "ConvNeXtLarge", "ConvNeXtXLarge"), 224),
    "densenet": dict.fromkeys(("DenseNet121", "DenseNet169", "DenseNet201"), 224),
    "efficientnet": {f"EfficientNetB{i}": side for i, side in enumerate((224, 240, 260, 300, 380, 456, 528, 600))},
    "efficientnet_v2": {
        "EfficientNetV2B0": 224,
        "EfficientNetV2B1": 240,
        "EfficientNetV2B2": 260,
        "EfficientNetV2B3": 300,
        "EfficientNetV2S": 384,
        "EfficientNetV2M": 480,
        "EfficientNetV2L": 480,
    },
    "inception_resnet_v2": {"InceptionResNetV2": 299},
    "inception_v3": {"InceptionV3": 299},
    "mobilenet": {"MobileNet": 224},
    "mobilenet_v2": {"MobileNetV2": 224},
    "mobilenet_v3": dict.fromkeys(("MobileNetV3Small", "MobileNetV3Large"), 224),
    "nasnet": {"NASNetMobile": 224, "NASNetLarge": 331},
    "resnet": dict.fromkeys(("ResNet50", "ResNet101", "ResNet152"), 224),
    "resnet_v2": dict.fromkeys(("ResNet50V2", "ResNet101V2", "ResNet152V2"), 224),
    "vgg16": {"VGG16": 224},
    "vgg19": {"VGG19": 224},
    "xception": {"Xception": 299},
}
APPLICATIONS: Mapping[str, tuple[str, int]] = {
    name: (module, side) for module, names in _MODULES.items() for name, side in names.items()
}
"""Of `keras.applications`: the module that has its `preprocess_input`, and the pixels that it was made for."""

AZURE: Mapping[str, str | None] = {
    "mobilenetv2": "MobileNetV2",
    "resnet18": f"{HUB_PREFIX}resnet_18_imagenet",
    "resnet34": f"{HUB_PREFIX}resnet_vd_34_imagenet",
    "resnet50": "ResNet50",
    "resnet101": "ResNet101",
    "resnet152": "ResNet152",
    "resnest50": None,
    "resnest101": None,
    "seresnext": None,
    "vits16r224": f"{HUB_PREFIX}deit_small_distilled_patch16_224_imagenet",
    "vitb16r224": f"{HUB_PREFIX}vit_base_patch16_224_imagenet",
    "vitl16r224": f"{HUB_PREFIX}vit_large_patch16_224_imagenet",
}
"""What Azure's AutoML for images calls its networks, as ours; None: neither keras.applications nor keras_hub has it."""


@dataclass(frozen=True, slots=True)
class BackboneName:
    """A name that was understood."""

    kind: Kind
    name: str
    """As the library spells it; of keras_hub, the preset."""
    side: int | None
    """Pixels that it was made for; None: its preset will say."""

    @property
    def full(self) -> str:
        """The name by which the command line and a model's card know it."""
        return f"{HUB_PREFIX}{self.name}" if self.kind == "hub" else self.name


def understand(text: str) -> list[BackboneName]:
    """The network of a name, or the several of names joined with `+`. Raises `UsageError`, saying what there is."""
    return [_one(part.strip()) for part in text.split("+")]


def default_side(text: str) -> int | None:
    """Pixels that a backbone was made for, the largest of several; None if only its preset can say."""
    sides = [name.side for name in understand(text)]
    return None if None in sides else max(side for side in sides if side is not None)


def _one(text: str) -> BackboneName:
    if text.startswith(HUB_PREFIX) and text != HUB_PREFIX:
        return BackboneName("hub", text.removeprefix(HUB_PREFIX), None)
    plain = _plain(text)
    for lite, side in LITE.items():
        if plain == _plain(lite):
            return BackboneName("lite", lite, side)
    for application, (_, side) in APPLICATIONS.items():
        if plain == _plain(application):
            return BackboneName("application", application, side)
    if plain in AZURE:
        ours = AZURE[plain]
        if ours is None:
            raise UsageError(
                f"{text} is a network of Azure's AutoML that neither keras.applications nor keras_hub has. {_offer()}"
            )
        return _one(ours)
    near = get_close_matches(plain, [_plain(name) for name in (*LITE, *APPLICATIONS)], 1)
    meant = next((f" Did you mean {name}?" for name in (*LITE, *APPLICATIONS) if near and _plain(name) == near[0]), "")
    raise UsageError(f"there is no backbone {text!r}.{meant} {_offer()}")


def _plain(text: str) -> str:
    return text.lower().replace("_", "").replace("-", "")


def _offer() -> str:
    return (
        f"There are: {', '.join(LITE)} (their weights are here); {', '.join(APPLICATIONS)}; {HUB_PREFIX}PRESET; "
        f"by Azure's names: {', '.join(name for name, ours in AZURE.items() if ours)}; two joined with +"
    )
