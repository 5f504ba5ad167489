"""From a trained iteration to a version in the store, and what is no honest export."""

import io
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper
from PIL import Image

from models.errors import UsageError
from models.metadata import Precision
from models.repository import Repository
from models.runtime import OnnxModel
from tests.support.custom_vision import exports
from tests.support.custom_vision.bodies import DOMAINS, S1_COMPACT
from tests.support.custom_vision.script import Fault
from tests.support.custom_vision.state import GENERAL_COMPACT
from tests.support.images import labelled, plain
from tests.unit.training.customvision.conftest import Cloud
from training.customvision import download, projects
from training.customvision import export as module
from training.customvision.client import ServiceError
from training.customvision.export import export
from training.customvision.exported import import_zip

FILES = labelled({"dark": 5, "grey": 5, "bright": 5}, width=16, height=16)
MEANS = [[200, 30, 20], [30, 200, 40], [40, 30, 200]]
LABELS = ["red", "green", "blue"]


def fetch(cloud: Cloud, out: Path, flavor: str | None = None, timeout_s: float = 100) -> None:
    service = cloud.training()
    project = projects.require(service, "scenes")
    iteration = projects.iteration(service, project, None)
    clock = cloud.time.clock
    export(service, project, iteration, out, flavor=flavor, timeout_s=timeout_s, tell=lambda _line: None, clock=clock)


@pytest.fixture
def store(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "store")


@pytest.mark.parametrize(
    ("domain", "flavor"), [(GENERAL_COMPACT, None), (S1_COMPACT, "ONNX12"), (GENERAL_COMPACT, "OnnxFloat16")]
)
def test_an_export_becomes_a_version_that_answers_as_the_iteration(
    cloud: Cloud, store: Repository, tmp_path: Path, domain: str, flavor: str | None
) -> None:
    project = cloud.filled(FILES)
    project.domain = domain
    iteration = cloud.trained(project)
    fetch(cloud, tmp_path / "out" / "scenes.zip", flavor)
    folder = import_zip(tmp_path / "out" / "scenes.zip", "scenes", [], store)
    stored = store.get("scenes")
    assert (stored.folder, stored.card.labels, stored.card.input.resize) == (folder, ["dark", "grey", "bright"], "bicubic")
    precision: Precision = "fp16" if flavor == "OnnxFloat16" else "fp32"
    (variant,) = stored.card.variants
    assert variant.precision == precision
    model = OnnxModel(folder / variant.file, threads=1)
    for colour in ((250, 10, 90), (9, 9, 9), (120, 130, 110)):
        pixels = np.full((1, exports.SIDE, exports.SIDE, 3), colour, np.uint8)
        assert iteration.classifier
        expected = iteration.classifier(plain(colour))
        np.testing.assert_allclose(model.run(pixels)[0], expected, atol=0.02 if precision == "fp16" else 1e-4)
    assert cloud.script.keys_at_storage == 0
    assert [path.name for path in store.root.iterdir()] == ["scenes"], "nothing is left of the work"
    fetch(cloud, tmp_path / "again.zip", flavor)
    assert (
        cloud.script.requests.count(("POST", next(path for method, path in cloud.script.requests if path.endswith("/export"))))
        == 1
    )


def test_only_compact_domains_are_exported(cloud: Cloud, tmp_path: Path) -> None:
    project = cloud.filled(FILES)
    project.domain = next(iter(DOMAINS))
    cloud.trained(project)
    with pytest.raises(UsageError, match=r"can't be exported: only the compact domains can.*--domain 'General \(compact\)'"):
        fetch(cloud, tmp_path / "x.zip")


def test_it_waits_no_longer_than_it_is_told(cloud: Cloud, tmp_path: Path) -> None:
    cloud.trained(cloud.filled(FILES))
    cloud.script.looks = 1000
    with pytest.raises(UsageError, match="takes longer than 10 s; the same command waits again"):
        fetch(cloud, tmp_path / "x.zip", timeout_s=10)


def test_a_download_is_tried_again_bounded_and_whole_or_not_there(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    iteration = cloud.trained(cloud.filled(FILES))
    monkeypatch.setattr(download, "PAUSE_S", 0.0)
    cloud.script.faults = [Fault("/storage-account/", 503, times=3)]
    fetch(cloud, tmp_path / "x.zip")
    assert cloud.script.count("/storage-account/") == 4
    (tmp_path / "x.zip").unlink()
    monkeypatch.setattr(module, "MAX_BYTES", 100)
    with pytest.raises(ServiceError, match="the export has more than 100 bytes"):
        fetch(cloud, tmp_path / "x.zip")
    assert list(tmp_path.iterdir()) == []
    iteration.exports[0] |= {"downloadUri": "http://example.com/model.zip?sig=secret"}
    with pytest.raises(UsageError, match="must begin with https://") as caught:
        fetch(cloud, tmp_path / "x.zip")
    assert "secret" not in str(caught.value)
    iteration.exports[0] |= {"downloadUri": f"{cloud.url}/storage-account/none?sig=secret"}
    with pytest.raises(ServiceError, match=r"403\. Its permission may be over") as caught:
        fetch(cloud, tmp_path / "x.zip")
    assert "secret" not in str(caught.value)


def test_an_export_that_failed_is_made_again(cloud: Cloud, tmp_path: Path) -> None:
    cloud.trained(cloud.filled(FILES))
    body = b'[{"platform": "ONNX", "status": "Failed", "flavor": null, "newerVersionAvailable": false}]'
    cloud.script.faults = [Fault("/export", 200, body, {"Content-Type": "application/json"}, method="GET")]
    fetch(cloud, tmp_path / "x.zip")
    assert zipfile.is_zipfile(tmp_path / "x.zip")


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return path


GOOD = {"labels.txt": "\ufeffred\r\ngreen\nblue\n\n".encode(), "model.onnx": exports.network(MEANS, LABELS)}


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({**GOOD, "../../evil.sh": b"x"}, "'../../evil.sh', which leads out of it"),
        ({**GOOD, "/etc/passwd": b"x"}, "which leads out of it"),
        ({**GOOD, "..\\evil": b"x"}, "which leads out of it"),
        ({**GOOD, "C:/evil": b"x"}, "which leads out of it"),
        ({**GOOD, "inner.zip": b"x"}, "holds another zip"),
        ({"labels.txt": GOOD["labels.txt"]}, "holds no ONNX file"),
        ({"model.onnx": GOOD["model.onnx"]}, r"holds no labels\.txt: it holds model\.onnx"),
        ({**GOOD, "b/other.onnx": b"x"}, "more than one ONNX file"),
        ({**GOOD, "labels.txt": b"one\none\ntwo"}, "two or more different labels"),
        ({**GOOD, "labels.txt": b"\xff\xfe\xfa"}, "can't be read"),
        (
            {**GOOD, "labels.txt": b"red\ngreen\nyellow"},
            "labels.txt has red, green, yellow, and the network knows red, green, blue",
        ),
        ({**GOOD, "model.onnx": b"no graph"}, "is no ONNX model that can be read"),
        ({**GOOD, **{f"{number}.txt": b"" for number in range(1001)}}, "holds 1,003 files"),
    ],
)
def test_what_is_no_honest_export_is_refused_and_leaves_nothing(
    store: Repository, tmp_path: Path, files: dict[str, bytes], reason: str
) -> None:
    with pytest.raises(UsageError, match=reason):
        import_zip(zipped(tmp_path / "x.zip", files), "x", [], store)
    assert list(store.root.iterdir()) == []
    assert [path.name for path in tmp_path.iterdir() if path.name not in ("store", "x.zip")] == []


def test_what_is_no_zip_is_refused(store: Repository, tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(b"PK no zip")
    with pytest.raises(UsageError, match="can't be read as a zip"):
        import_zip(tmp_path / "x.zip", "x", [], store)


def scores(store: Repository, colour: tuple[int, int, int]) -> dict[str, float]:
    stored = store.get("x")
    model = OnnxModel(stored.folder / stored.card.variants[0].file, threads=1)
    found = model.run(np.full((1, exports.SIDE, exports.SIDE, 3), colour, np.uint8))[0]
    return dict(zip(stored.card.labels, map(float, found), strict=True))


def test_the_order_of_the_labels_is_the_networks_own(store: Repository, tmp_path: Path) -> None:
    import_zip(zipped(tmp_path / "x.zip", {**GOOD, "labels.txt": b"blue\ngreen\nred"}), "x", [], store)
    assert max(scores(store, (210, 20, 20)).items(), key=lambda pair: pair[1])[0] == "red"


def test_the_file_says_how_it_reads_pixels_and_silence_means_rgb_in_0_to_1(store: Repository, tmp_path: Path) -> None:
    model = onnx.load_model_from_string(exports.network([mean[::-1] for mean in MEANS], LABELS, plain=True))
    del model.metadata_props[:]
    scale = next(one for one in model.graph.initializer if one.name == "scale")
    scale.CopyFrom(onnx.numpy_helper.from_array(np.array(1, np.float32), "scale"))
    files = {**GOOD, "model.onnx": model.SerializeToString()}
    import_zip(zipped(tmp_path / "x.zip", files), "x", [], store)
    assert max(scores(store, (210, 20, 20)).items(), key=lambda pair: pair[1])[0] == "red"
    helper.set_model_props(model, {"Image.BitmapPixelFormat": "Gray8"})
    files = {**GOOD, "model.onnx": model.SerializeToString()}
    with pytest.raises(UsageError, match="the network says Gray8, Normalized_0_1 of its pixels"):
        import_zip(zipped(tmp_path / "x.zip", files), "x", [], store)


def test_of_several_outputs_loss_has_the_scores(store: Repository, tmp_path: Path) -> None:
    model = onnx.load_model_from_string(exports.network(MEANS, LABELS, plain=True))
    next(node for node in model.graph.node if node.op_type == "Softmax").output[0] = "loss"
    del model.graph.output[:]
    shapes = ("logits", "loss")
    model.graph.output.extend(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None, 3]) for name in shapes)
    import_zip(zipped(tmp_path / "x.zip", {**GOOD, "model.onnx": model.SerializeToString()}), "x", [], store)
    assert sum(scores(store, (210, 20, 20)).values()) == pytest.approx(1)


def test_the_stand_ins_export_is_what_microsofts_script_reads() -> None:
    import onnxruntime

    with zipfile.ZipFile(io.BytesIO(exports.archive(exports.network(MEANS, LABELS), LABELS))) as archive:
        session = onnxruntime.InferenceSession(archive.read("model.onnx"), providers=["CPUExecutionProvider"])
        assert archive.read("labels.txt").decode().split() == LABELS
    assert [one.name for one in session.get_outputs()] == ["classLabel", "loss"]
    label, loss = session.run(None, {"data": exports.blob(Image.new("RGB", (exports.SIDE, exports.SIDE), (210, 20, 20)))})
    assert label.tolist() == [["red"]]
    assert max(loss[0].items(), key=lambda pair: pair[1])[0] == "red"
    assert sum(loss[0].values()) == pytest.approx(1)
