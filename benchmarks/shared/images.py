"""The batches that every contender trains on."""

import os
from pathlib import Path

import numpy as np

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)  # CIFAR-10's channels
_RECORD_BYTES = 1 + 3 * 32 * 32


def batches(count: int, size: int, seed: int, side: int = 32) -> tuple[np.ndarray, np.ndarray, str]:
    """Returns images uint8 [count, size, side, side, 3], labels int32 [count, size], their source.

    CIFAR-10 where FX_DATA_DIR has it and side is 32; noise elsewhere: speed does not depend on it.
    """
    rng = np.random.default_rng(seed)
    file = Path(os.environ.get("FX_DATA_DIR", ".")) / "cifar-10-batches-bin" / "data_batch_1.bin"
    if side != 32 or not file.is_file():
        images = rng.integers(0, 256, (count, size, side, side, 3), np.uint8)
        labels = rng.integers(0, 10, (count, size), np.int32)
        return images, labels, f"noise of {side}x{side}"
    records = np.fromfile(file, np.uint8).reshape(-1, _RECORD_BYTES)
    chosen = records[rng.integers(0, len(records), count * size)]
    images = chosen[:, 1:].reshape(count, size, 3, 32, 32).transpose(0, 1, 3, 4, 2)
    labels = chosen[:, 0].astype(np.int32).reshape(count, size)
    return np.ascontiguousarray(images), labels, "CIFAR-10"


def tokens(count: int, size: int, length: int, vocabulary: int, seed: int) -> np.ndarray:
    """Returns noise int32 [count, size, length + 1]: the inputs, and one on as targets."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, vocabulary, (count, size, length + 1), np.int32)
