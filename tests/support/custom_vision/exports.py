"""What the stand-in's training makes: a small, real ONNX classifier that names the nearest mean colour, and its export.

In the manner of Custom Vision: `data` [N,3,side,side], blue first, 0..255. A compact domain's has `classLabel` and a map of label
to score, `loss`; a compact [S1] domain's a plain array of scores.
"""

import io
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from models import imaging
from tests.support.custom_vision.state import Classifier

SIDE = 48
SHARPNESS = 60.0


def network(means: Sequence[Sequence[float]], labels: Sequence[str], *, plain: bool = False, half: bool = False) -> bytes:
    """`means`: RGB 0..255, of each label. `plain`: one output without names, as [S1] has. `half`: float16 throughout."""
    colours = np.array(means, np.float64)[:, ::-1] / 255
    kind, number = (TensorProto.FLOAT16, np.float16) if half else (TensorProto.FLOAT, np.float32)
    nodes = [
        helper.make_node("Mul", ["data", "scale"], ["scaled"]),
        helper.make_node("ReduceMean", ["scaled"], ["colour"], axes=[2, 3], keepdims=0),
        helper.make_node("Gemm", ["colour", "weights", "bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["model_output"], axis=1),
    ]
    outputs = [helper.make_tensor_value_info("model_output", kind, [None, len(labels)])]
    if not plain:
        scores = "model_output"
        if half:
            nodes.append(helper.make_node("Cast", [scores], ["wide"], to=TensorProto.FLOAT))
            scores = "wide"
        nodes += [
            helper.make_node("ArgMax", [scores], ["place"], axis=1, keepdims=1),
            helper.make_node(
                "LabelEncoder",
                ["place"],
                ["classLabel"],
                domain="ai.onnx.ml",
                keys_int64s=list(range(len(labels))),
                values_strings=list(labels),
                default_string="",
            ),
            helper.make_node("ZipMap", [scores], ["loss"], domain="ai.onnx.ml", classlabels_strings=list(labels)),
        ]
        of_label = helper.make_map_type_proto(TensorProto.STRING, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
        outputs = [
            helper.make_tensor_value_info("classLabel", TensorProto.STRING, [None, 1]),
            helper.make_value_info("loss", helper.make_sequence_type_proto(of_label)),
        ]
    graph = helper.make_graph(
        nodes,
        "nearest mean colour",
        [helper.make_tensor_value_info("data", kind, [None, 3, SIDE, SIDE])],
        outputs,
        [
            numpy_helper.from_array(np.array(1 / 255, number), "scale"),
            numpy_helper.from_array((2 * SHARPNESS * colours.T).astype(number), "weights"),
            numpy_helper.from_array((-SHARPNESS * (colours**2).sum(axis=1)).astype(number), "bias"),
        ],
    )
    opsets = [helper.make_opsetid("", 12), helper.make_opsetid("ai.onnx.ml", 2)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=7, producer_name="customvision")
    helper.set_model_props(model, {"Image.BitmapPixelFormat": "Bgr8", "Image.NominalPixelRange": "NominalRange_0_255"})
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def classifier(model: bytes) -> Classifier:
    """What an iteration answers: that network, read as Microsoft's own script reads an export."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])

    def classify(image: bytes) -> Sequence[float]:
        pixels = Image.fromarray(imaging.decode(image)).resize((SIDE, SIDE))
        (scores,) = session.run(None, {"data": blob(pixels)})
        return [float(score) for score in scores[0]]

    return classify


def blob(image: Image.Image) -> npt.NDArray[np.float32]:
    """Pixels as an export takes them: [1,3,side,side], blue first, 0..255."""
    return np.ascontiguousarray(np.asarray(image, np.float32)[None, :, :, ::-1].transpose(0, 3, 1, 2))


def archive(model: bytes, labels: Sequence[str], **others: Any) -> bytes:  # noqa: ANN401  # file names with their bytes
    """The zip, as the portal gives it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("cvexport.manifest", '{"DomainType": "Classification", "Platform": "ONNX", "ModelFileName": "model.onnx"}')
        file.writestr("labels.txt", "\r\n".join(labels))
        file.writestr("model.onnx", model)
        for name, data in others.items():
            file.writestr(name, data)
    return buffer.getvalue()
