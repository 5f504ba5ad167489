"""A zip that Custom Vision exported -> a version of the store: `model.onnx`, `labels.txt`, and what the file says of its pixels.

How it is read follows Microsoft's own script (Azure-Samples/customvision-export-samples, samples/python/onnx/classification):
colours first (NCHW), `Bgr8` swaps red and blue, `NominalRange_0_255` leaves the pixels as they are, else they are divided by 255;
the image is stretched with Pillow's default filter.
"""

import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

import onnx

from models.archives import DAMAGED, files_of, open_zip
from models.errors import DatasetError, UsageError
from models.repository import Repository
from training.graphs import read_graph
from training.importing import import_onnx
from training.preprocess import PIXEL_FORMATS, PIXEL_RANGES

MAX_MEMBERS = 1000
MAX_MODEL_BYTES = 2_000_000_000
MAX_LABELS_BYTES = 1_000_000
LOSS = "loss"
"""Of several outputs, the one with the scores."""


def import_zip(archive: Path, name: str, words: Sequence[str], store: Repository) -> Path:
    """Add an export to the store; `words` are declarations that go before what the file says. Returns the version's folder.

    Raises `UsageError` if the zip is no such export, or its parts contradict each other.
    """
    store.root.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".export-", dir=store.root) as folder:
        path = Path(folder) / "model.onnx"
        listed = _unpack(archive, path)
        model = read_graph(path)
        own = _labels_of(model)
        if own and sorted(own) != sorted(listed):
            raise UsageError(
                f"{archive.name}: labels.txt has {', '.join(listed)}, and the network knows {', '.join(own)}: one was exchanged"
            )
        return import_onnx(path, name, own or listed, [*_declared(model), *words], store)


def _declared(model: onnx.ModelProto) -> list[str]:
    said = {one.key: one.value for one in model.metadata_props}
    pixel_format, pixels = said.get("Image.BitmapPixelFormat", "Rgb8"), said.get("Image.NominalPixelRange", "Normalized_0_1")
    if pixel_format not in PIXEL_FORMATS or pixels not in PIXEL_RANGES:
        raise UsageError(f"the network says {pixel_format}, {pixels} of its pixels, which is not known here: use models import")
    words = ["layout=nchw", f"colours={PIXEL_FORMATS[pixel_format]}", f"range={PIXEL_RANGES[pixels]}", "resize=bicubic"]
    outputs = {value.name: value.type.WhichOneof("value") for value in model.graph.output}
    if len(outputs) > 1 and outputs.get(LOSS) == "tensor_type":
        words.append(f"output={LOSS}")
    return words


def _labels_of(model: onnx.ModelProto) -> list[str]:
    """Labels in the order of the scores, where a map from one to the other is part of the network."""
    for node in model.graph.node:
        if node.op_type == "ZipMap":
            return [text.decode("utf-8") for one in node.attribute if one.name == "classlabels_strings" for text in one.strings]
    return []


def _unpack(archive: Path, target: Path) -> list[str]:
    """Write the network to `target`, whatever name it has in the zip, and return the lines of labels.txt."""
    try:
        with open_zip(archive, archive.name) as file:
            members = files_of(file, archive.name, MAX_MEMBERS, 2 * MAX_MODEL_BYTES)
            network = _one(archive, members, lambda name: name.endswith(".onnx"), "ONNX file")
            labels = _one(archive, members, lambda name: name == "labels.txt", "labels.txt")
            if network.file_size > MAX_MODEL_BYTES or labels.file_size > MAX_LABELS_BYTES:
                raise UsageError(f"{archive.name}: its files are larger than those of an export can be")
            with file.open(network) as source, target.open("wb") as out:
                left = network.file_size
                while left > 0 and (chunk := source.read(min(left, 1 << 20))):
                    left -= len(chunk)
                    out.write(chunk)
            text = file.read(labels).decode("utf-8-sig")
    except DatasetError as exc:
        raise UsageError(f"{archive} can't be read as a zip that Custom Vision exported: {exc}") from exc
    except DAMAGED as exc:
        raise UsageError(f"{archive} can't be read as a zip: {exc}") from exc
    found = [line.strip() for line in text.splitlines() if line.strip()]
    if len(found) < 2 or len(set(found)) < len(found):
        raise UsageError(f"{archive.name}: labels.txt must name two or more different labels, one a line")
    return found


def _one(archive: Path, members: Sequence[zipfile.ZipInfo], fits: Callable[[str], bool], what: str) -> zipfile.ZipInfo:
    found = [one for one in members if fits(PurePosixPath(one.filename).name.lower()) and "__MACOSX" not in one.filename]
    if len(found) != 1:
        names = ", ".join(one.filename for one in members[:20]) or "nothing"
        raise UsageError(f"{archive.name} holds {'no' if not found else 'more than one'} {what}: it holds {names}")
    return found[0]
