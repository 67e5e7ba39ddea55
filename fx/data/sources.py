"""Where data comes from: CIFAR-10 and scikit-learn's digits."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from fx.data import prepared
from fx.data.dataset import Dataset
from fx.data.splits import HOLD_OUT, permutation

CIFAR10_CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
# Dataset.statistics() of the 50,000 training images; a test computes them again. (The deviations
# 0.2023, 0.1994, 0.2010 that many programs use are means of the deviations within single images.)
CIFAR10_MEAN = (0.4914, 0.4822, 0.4465)
CIFAR10_STD = (0.2470, 0.2435, 0.2616)

_FOLDER = "cifar-10-batches-bin"
_FILES = {"train": [f"data_batch_{i}.bin" for i in range(1, 6)], "test": ["test_batch.bin"]}
_RECORD_BYTES = 1 + 3 * 32 * 32  # a label, then the red, green and blue planes
_RECORDS = 10_000


def cifar10(split: str = "train", data_dir: str | Path | None = None) -> Dataset:
    """Return CIFAR-10: 50,000 training or 10,000 test images in ten classes.

    It is looked for in this order: `cifar-10-batches-bin`, the published binary version, in
    `data_dir`, or else in the folder that the environment variable `FX_DATA_DIR` names; what
    TensorFlow Datasets has prepared in its default folder; a download by TensorFlow Datasets.

    Args:
        split: "train" or "test".
        data_dir: the folder that holds `cifar-10-batches-bin`; given, nowhere else is looked.

    Returns:
        A data set of uint8 images `[N, 32, 32, 3]` and int32 labels `[N]`.

    Raises:
        ValueError: `split` is another word, or a file is truncated, foreign or damaged.
        FileNotFoundError: a file is missing, or none of the ways leads to the data.
        ImportError: data that TFDS has prepared is there, and TFDS is not installed.

    Source:
        Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009;
        https://www.cs.toronto.edu/~kriz/cifar.html
    """
    _check_split("cifar10", split)
    if data_dir is not None:
        return _read_folder(Path(data_dir) / _FOLDER, split)
    variable = os.environ.get("FX_DATA_DIR")
    if variable and (Path(variable) / _FOLDER).is_dir():
        return _read_folder(Path(variable) / _FOLDER, split)
    version = prepared.find_version(prepared.default_folder())
    if version:
        return _from_tfds(*prepared.read_prepared(version, split), str(version))
    reason = prepared.cannot_download()
    if reason is None:
        return _from_tfds(*prepared.download(split), "what TFDS downloaded")
    state = f"it is {variable}, which has no such folder" if variable else "it is not set"
    raise FileNotFoundError(
        f"cifar10: the data was not found in any of three places:\n"
        f"  1. FX_DATA_DIR/{_FOLDER}: {state}; unpack {prepared.URL} and set "
        f"FX_DATA_DIR to the folder that holds {_FOLDER}\n"
        f"  2. data prepared by TensorFlow Datasets: none in {prepared.default_folder()}; on a "
        "machine with TensorFlow, tfds build cifar10 --file_format=array_record\n"
        f"  3. download by TensorFlow Datasets: {reason}\n"
        "Or train on scikit-learn's digits, which need no download: --data digits"
    )


def read_binary(path: str | Path, records: int = _RECORDS) -> tuple[np.ndarray, np.ndarray]:
    """Read one file of CIFAR-10's binary version.

    Args:
        path: the file.
        records: how many records of 3,073 bytes it must have.

    Returns:
        uint8 images `[records, 32, 32, 3]` and int32 labels `[records]`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: its size is wrong, or a label is not in 0 to 9.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"cifar10: expected the file {path}, and it is missing; {_AGAIN}")
    size, expected = path.stat().st_size, records * _RECORD_BYTES
    if size != expected:
        whole, rest = divmod(size, _RECORD_BYTES)
        kind = f"{whole} whole records" + (f" and {rest} bytes over" if rest else "")
        raise ValueError(
            f"cifar10: expected {path} to have {records} records of {_RECORD_BYTES} bytes, "
            f"{expected} bytes, got {size} bytes ({kind}): the file is truncated, or not of "
            f"CIFAR-10's binary version; {_AGAIN}"
        )
    raw = np.fromfile(path, np.uint8).reshape(records, _RECORD_BYTES)
    labels = raw[:, 0].astype(np.int32)
    _check_labels(labels, str(path), _AGAIN)
    images = raw[:, 1:].reshape(records, 3, 32, 32).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), labels


def digits(split: str = "train", seed: int = 0, size: int = 32) -> Dataset:
    """Return scikit-learn's 1,797 handwritten digits as RGB images, split 80/20 by class.

    The images are real, come with scikit-learn, and so need no download. They are 8x8 with 17
    levels of gray at rest, and are resized bilinearly.

    Args:
        split: "train" or "test".
        seed: which images are for testing is a pure function of it.
        size: height and width in pixels.

    Returns:
        A data set of uint8 images `[N, size, size, 3]` and int32 labels `[N]`.

    Raises:
        ValueError: `split` is another word, or `size` is below 1.
        ImportError: scikit-learn is missing.

    Example:
        >>> digits("test", size=8)
        Dataset(inputs=uint8[359,8,8,3], targets=int32[359], classes=10)

    Source:
        `sklearn.datasets.load_digits`, the test part of the UCI "Optical Recognition of
        Handwritten Digits" data set.
    """
    _check_split("digits", split)
    if size < 1:
        raise ValueError(f"digits: expected size of 1 or more, got {size}")
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError(
            "digits: the images come with scikit-learn, which is not installed; "
            "pip install '.[digits]' in fx's folder"
        ) from error
    source: dict = load_digits()  # type: ignore[assignment]
    labels = source["target"].astype(np.int32)
    test = _hold_out(labels, 0.2, seed)
    rows = np.flatnonzero(test if split == "test" else ~test)
    gray = _resize(source["images"][rows] / 16, size)  # [N, size, size] in [0, 1]
    images = np.repeat(np.round(gray * 255).astype(np.uint8)[..., None], 3, axis=-1)
    return Dataset(images, labels[rows], tuple(str(digit) for digit in range(10)))


_AGAIN = f"unpack {prepared.URL} again"


def _check_split(where: str, split: str) -> None:
    if split not in _FILES:
        raise ValueError(f'{where}: expected split "train" or "test", got {split!r}')


def _read_folder(folder: Path, split: str) -> Dataset:
    if not folder.is_dir():
        raise FileNotFoundError(
            f"cifar10: expected the folder {folder}, and there is none; unpack {prepared.URL} "
            "and give data_dir= the folder that it was unpacked in"
        )
    images, labels = zip(*(read_binary(folder / name) for name in _FILES[split]))
    return Dataset(np.concatenate(images), np.concatenate(labels), CIFAR10_CLASSES)


def _from_tfds(images: np.ndarray, labels: np.ndarray, where: str) -> Dataset:
    _check_labels(labels, where, "delete it and let TFDS prepare it again")
    return Dataset(images, labels, CIFAR10_CLASSES)


def _check_labels(labels: np.ndarray, where: str, remedy: str) -> None:
    wrong = np.flatnonzero((labels < 0) | (labels > 9))
    if len(wrong):
        raise ValueError(
            f"cifar10: expected labels 0 to 9 in {where}, got {labels[wrong[0]]} in record "
            f"{wrong[0]} ({len(wrong)} in all): the data is damaged or of another set; {remedy}"
        )


def _hold_out(labels: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """A mask, bool `[N]`, of a fraction of each class."""
    mask = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        order = permutation(len(rows), seed, int(label), purpose=HOLD_OUT)
        mask[rows[order[: round(fraction * len(rows))]]] = True
    return mask


def _resize(images: np.ndarray, size: int) -> np.ndarray:
    """Bilinear, pixel centres at half-integers: `[N, h, w]` to `[N, size, size]`."""
    rows, columns = (_weights(length, size) for length in images.shape[1:])
    return np.einsum("ih,nhw,jw->nij", rows, images, columns, optimize=True)


def _weights(length: int, size: int) -> np.ndarray:
    place = np.clip((np.arange(size) + 0.5) * length / size - 0.5, 0, length - 1)  # [size]
    # The tent of each source pixel: 1 on it, 0 from its neighbours on.
    return np.clip(1 - np.abs(place[:, None] - np.arange(length)), 0, 1)  # [size, length]
