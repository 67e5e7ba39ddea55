"""TensorFlow Datasets, without TensorFlow where a data set is prepared already."""

from __future__ import annotations

import http.client
import importlib.util
import os
import threading
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
TIMEOUT_S = 5.0
_PIP = "pip install '.[tfds]' in fx's folder"
_CHUNK = 1000


def default_folder() -> Path:
    """Return the folder where TFDS keeps what it has prepared."""
    return Path(os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")).expanduser()


def find_version(folder: Path, name: str = "cifar10") -> Path | None:
    """Return the newest prepared version of a data set in a TFDS folder, or None."""
    infos = sorted((folder / name).glob("*/dataset_info.json"), key=_version)
    return infos[-1].parent if infos else None


def read_prepared(version: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Read a split that TFDS has prepared.

    Args:
        version: the folder of one version, as `~/tensorflow_datasets/cifar10/3.0.2`.
        split: "train" or "test".

    Returns:
        uint8 images `[N, 32, 32, 3]` and int32 labels `[N]`.

    Raises:
        ImportError: tensorflow_datasets or Pillow is missing.
        ValueError: the data is in a format that needs TensorFlow to be read.
    """
    try:
        import PIL  # noqa: F401 (TFDS decodes the images with it)
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise ImportError(
            f"cifar10: {version} was prepared by TFDS, and reading it needs tensorflow-datasets "
            f"and Pillow; {_PIP} pillow"
        ) from error
    return _read(tfds.builder_from_directory(version), split)


def cannot_download() -> str | None:
    """Say why TFDS could not download CIFAR-10 now, or return None; takes at most 5 s.

    TFDS itself retries for minutes before it gives up.
    """
    if not importlib.util.find_spec("tensorflow_datasets"):
        return f"tensorflow-datasets is not installed; {_PIP}"
    if not importlib.util.find_spec("tensorflow"):
        return "TFDS prepares CIFAR-10 with TensorFlow, which is not installed"
    if not _reachable(URL, TIMEOUT_S):
        return f"{URL} did not answer within {TIMEOUT_S:g} s"
    return None


def download(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Let TFDS download and prepare CIFAR-10 in its default folder, and read a split."""
    import tensorflow_datasets as tfds

    # array_record is the format that can be read without TensorFlow afterwards.
    builder = tfds.builder("cifar10", file_format="array_record")
    builder.download_and_prepare()
    return _read(builder, split)


def _read(builder: Any, split: str) -> tuple[np.ndarray, np.ndarray]:
    try:
        source = builder.as_data_source(split)
    except NotImplementedError as error:
        raise ValueError(
            f"cifar10: expected {builder.data_dir} in TFDS's format array_record, got another, "
            "which needs TensorFlow; prepare it again: "
            "tfds build cifar10 --file_format=array_record --overwrite"
        ) from error
    images = np.empty((len(source), 32, 32, 3), np.uint8)
    labels = np.empty(len(source), np.int32)
    for start in range(0, len(source), _CHUNK):
        rows = range(start, min(start + _CHUNK, len(source)))
        for i, example in zip(rows, source.__getitems__(list(rows))):
            images[i], labels[i] = example["image"], example["label"]
    return images, labels


def _reachable(url: str, timeout_s: float) -> bool:
    """Whether a URL answers in time; a thread, for looking up a name knows no time limit."""
    answered = threading.Event()

    def ask() -> None:
        try:
            request = urllib.request.Request(url, method="HEAD")
            with urllib.request.urlopen(request, timeout=timeout_s):
                answered.set()
        except (OSError, http.client.HTTPException):
            pass  # not answered, which is the answer
        finally:
            done.set()

    done = threading.Event()
    threading.Thread(target=ask, daemon=True, name="fx-reachable").start()
    done.wait(timeout_s)
    return answered.is_set()


def _version(info: Path) -> tuple[int, ...]:
    parts = info.parent.name.split(".")
    return tuple(int(part) for part in parts) if all(map(str.isdigit, parts)) else ()
