"""Record files: ArrayRecord, and what TensorFlow Datasets has prepared in it."""

from __future__ import annotations

import glob
import importlib.util
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fx.data import prepared
from fx.data.examples import Examples, Names


def from_array_record(
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    decode: Callable[[bytes], Any],
) -> Examples:
    """Read ArrayRecord files, any record at any time.

    Args:
        paths: files, or patterns such as `data/train-*.array_record`; sorted within a pattern.
        decode: from a record's bytes to an example `(input, target)`.

    Returns:
        A source that is read record by record.

    Raises:
        FileNotFoundError: a file is missing, or a pattern fits none.
        ValueError: a file is damaged or of another format.
        ImportError: array_record is missing.

    Example:
        >>> from array_record.python.array_record_module import ArrayRecordWriter
        >>> writer = ArrayRecordWriter("two.array_record", "group_size:1")
        >>> _ = [writer.write(bytes([i, 10 * i])) for i in range(2)]
        >>> writer.close()
        >>> data = from_array_record("two.array_record", lambda record: (record[0], record[1]))
        >>> [int(part) for part in data.example(1)]
        [1, 10]
    """
    try:
        from array_record.python.array_record_data_source import ArrayRecordDataSource
    except ImportError as error:
        raise ImportError(
            "from_array_record: reading needs array_record, which is not installed; "
            "pip install '.[grain]' in fx's folder"
        ) from error
    given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    files: list[str] = []
    for path in given:
        path = os.fspath(path)
        found = [path] if os.path.isfile(path) else sorted(glob.glob(path))
        if not found:
            raise FileNotFoundError(
                f"from_array_record: expected files at {path}, and there are none"
            )
        files += found
    for file in files:  # the library would stop the whole process at some of these
        if os.path.getsize(file) == 0 or not _has_magic(file):
            raise ValueError(
                f"from_array_record: {file} is not an ArrayRecord file, or its beginning is "
                "damaged; write it again"
            )
    try:
        source = ArrayRecordDataSource(files)
        return Examples(source, decode=decode)
    except (RuntimeError, ValueError) as error:
        raise ValueError(
            f"from_array_record: {', '.join(files)} cannot be read: {error}; a file is damaged, "
            "truncated or empty"
        ) from error


def _has_magic(file: str) -> bool:
    """Whether the file begins as Riegeli's, the format underneath, does."""
    with open(file, "rb") as stream:
        return stream.read(8) == bytes.fromhex("83af70d10d884a3f")


def tfds(
    name: str,
    split: str = "train",
    inputs: Names = "image",
    targets: Names = "label",
    data_dir: str | os.PathLike[str] | None = None,
) -> Examples:
    """Read a data set of TensorFlow Datasets; without TensorFlow where it is prepared already.

    Args:
        name: as TFDS calls it, "mnist" or "celeb_a/1.0".
        split: as TFDS takes it, "train" or "train[:10%]".
        inputs: a feature's name; a tuple of names gives a tuple of arrays.
        targets: likewise; class names come from it.
        data_dir: TFDS's folder; None is `TFDS_DATA_DIR`, else ~/tensorflow_datasets.

    Returns:
        A source that is read record by record.

    Raises:
        FileNotFoundError: it is not prepared, and TFDS cannot prepare it here.
        ValueError: it is prepared in a format that needs TensorFlow; there is no such split.
        ImportError: tensorflow-datasets is missing.
    """
    if importlib.util.find_spec("tensorflow_datasets") is None:
        raise ImportError(
            "tfds: reading needs tensorflow-datasets, which is not installed; "
            "pip install '.[tfds]' in fx's folder"
        )
    import tensorflow_datasets

    folder = prepared.default_folder() if data_dir is None else Path(data_dir)
    version = prepared.find_version(folder, name)
    if version is None and (folder / name / "dataset_info.json").is_file():
        version = folder / name
    if version is not None:
        builder: Any = tensorflow_datasets.builder_from_directory(version)
    elif importlib.util.find_spec("tensorflow") is None:
        raise FileNotFoundError(
            f"tfds: expected {name} to be prepared in {folder}, and it is not; preparing needs "
            f"TensorFlow: on a machine that has it, tfds build {name} --file_format=array_record"
        )
    else:
        builder = tensorflow_datasets.builder(name, data_dir=folder, file_format="array_record")
        builder.download_and_prepare()
    try:
        source = builder.as_data_source(split)
    except NotImplementedError as error:
        raise ValueError(
            f"tfds: expected {builder.data_dir} in the format array_record, got another, which "
            f"needs TensorFlow; tfds build {name} --file_format=array_record --overwrite"
        ) from error
    feature = builder.info.features[targets] if isinstance(targets, str) else None
    names = tuple(getattr(feature, "names", None) or ())
    return Examples(source, inputs=inputs, targets=targets, classes=names)
