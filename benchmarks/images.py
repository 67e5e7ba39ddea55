"""The batches that every contender trains on."""

import os
from pathlib import Path

import numpy as np

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)  # CIFAR-10's channels
_RECORD_BYTES = 1 + 3 * 32 * 32


def batches(count: int, size: int, seed: int) -> tuple[np.ndarray, np.ndarray, str]:
    """Returns images uint8 [count, size, 32, 32, 3], labels int64 [count, size], and what they are.

    CIFAR-10 where FX_DATA_DIR has it, noise in its shape elsewhere: speed does not depend on it.
    """
    rng = np.random.default_rng(seed)
    file = Path(os.environ.get("FX_DATA_DIR", ".")) / "cifar-10-batches-bin" / "data_batch_1.bin"
    if not file.is_file():
        images = rng.integers(0, 256, (count, size, 32, 32, 3), np.uint8)
        return images, rng.integers(0, 10, (count, size)), "noise in the shape of CIFAR-10"
    records = np.fromfile(file, np.uint8).reshape(-1, _RECORD_BYTES)
    chosen = records[rng.integers(0, len(records), count * size)]
    images = chosen[:, 1:].reshape(count, size, 3, 32, 32).transpose(0, 1, 3, 4, 2)
    labels = chosen[:, 0].astype(np.int64).reshape(count, size)
    return np.ascontiguousarray(images), labels, "CIFAR-10"
