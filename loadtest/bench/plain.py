"""A classifier's server as tutorials write it: FastAPI, Pillow, onnxruntime, the session's defaults, all of it in the route.

It is meant to be what a capable person writes in an afternoon, and is spared what often comes with it: no PyTorch, a model that
was loaded once, images resized as in training, uvloop and httptools because they are installed here, and no access log, which
by default costs uvicorn a line a request. All of that favours it. `BENCH_MODEL` names the
folder of the version that it serves, `BENCH_FILE` the ONNX file there.
"""

import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from fastapi import FastAPI, UploadFile
from PIL import Image

FOLDER = Path(os.environ["BENCH_MODEL"])
CARD = json.loads((FOLDER / "model.json").read_text(encoding="utf-8"))
LABELS = CARD["labels"]
SIZE = (CARD["input"]["width"], CARD["input"]["height"])
RESAMPLING = Image.Resampling[CARD["input"]["resize"].upper()]

app = FastAPI()
session = onnxruntime.InferenceSession(str(FOLDER / os.environ["BENCH_FILE"]), providers=["CPUExecutionProvider"])


@app.post("/classify")
async def classify(file: UploadFile) -> dict[str, Any]:
    """Name the class of a picture."""
    image = Image.open(io.BytesIO(await file.read())).convert("RGB").resize(SIZE, RESAMPLING)
    scores = session.run(None, {"image": np.asarray(image)[None]})[0][0]
    return {
        "filename": file.filename,
        "label": LABELS[int(scores.argmax())],
        "probabilities": {label: float(score) for label, score in zip(LABELS, scores, strict=True)},
    }
