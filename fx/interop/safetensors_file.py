"""One safetensors file: its header checked by the format's own library, its arrays mapped."""

import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from safetensors import SafetensorError, safe_open

CODES = {
    "BOOL": "bool", "I8": "int8", "I16": "int16", "I32": "int32", "I64": "int64",
    "U8": "uint8", "U16": "uint16", "U32": "uint32", "U64": "uint64",
    "F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64", "C64": "complex64",
    "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "F8_E8M0": "float8_e8m0fnu",
    "F8_E4M3FNUZ": "float8_e4m3fnuz", "F8_E5M2FNUZ": "float8_e5m2fnuz",
}  # fmt: skip
DTYPES = {name: code for code, name in CODES.items()}


def dtype_of(name: str) -> np.dtype:
    """The dtype of a name that torch and ml_dtypes have in common: "float32", "bfloat16"."""
    return np.dtype(getattr(ml_dtypes, name, name))


def map_bytes(path: Path, mmap: bool) -> np.ndarray:
    """The file as uint8: read-only pages of it, or a copy in memory."""
    return np.asarray(np.memmap(path, np.uint8, "r")) if mmap else np.fromfile(path, np.uint8)


def read(path: Path, mmap: bool) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays by name, and the file's metadata.

    Raises:
        ValueError: the file is not whole, or holds a type that NumPy lacks.
    """
    try:
        with safe_open(path, "np"):  # refuses offsets that lie, overlap, or leave gaps
            pass
    except SafetensorError as error:
        raise ValueError(
            f"read_weights: {path} ({path.stat().st_size} bytes) is not a whole safetensors file "
            f"({error}); it was cut short or is of another format: copy or write it again"
        ) from error
    whole = map_bytes(path, mmap)
    start = 8 + int.from_bytes(whole[:8].tobytes(), "little")
    header = json.loads(whole[8:start].tobytes())
    metadata = header.pop("__metadata__", None) or {}
    return {name: _array(path, name, whole[start:], about) for name, about in header.items()}, (
        metadata
    )


def _array(path: Path, name: str, data: np.ndarray, about: dict[str, Any]) -> np.ndarray:
    if about["dtype"] not in CODES:
        raise ValueError(
            f'read_weights: {path}: "{name}" has the type {about["dtype"]}, which NumPy does not '
            f"have; convert it to one of {', '.join(sorted(DTYPES))}"
        )
    first, end = about["data_offsets"]
    return as_dtype(data[first:end], dtype_of(CODES[about["dtype"]])).reshape(about["shape"])


def as_dtype(data: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Bytes as numbers: a view, but for booleans and for what the dtype's alignment forbids."""
    if dtype == np.bool_:  # a byte that is neither 0 nor 1 must not pass for a bool
        return data != 0
    return np.require(data.view(dtype), requirements="A")


def write(path: Path, arrays: Mapping[str, Any], metadata: Mapping[str, str]) -> None:
    """Write the file whole or not at all.

    Args:
        path: the file.
        arrays: by name, of dtypes in `DTYPES`; each is fetched when its turn comes.
        metadata: what the header keeps beside them.
    """
    # The order of the format's own library: the widest first, so that all stand aligned.
    names = sorted(arrays, key=lambda name: (-dtype_of(kind(arrays[name])).itemsize, name))
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))} if metadata else {}
    offset = 0
    for name in names:
        first, offset = offset, offset + size_bytes(arrays[name])
        header[name] = {
            "dtype": DTYPES[kind(arrays[name])],
            "shape": list(arrays[name].shape),
            "data_offsets": [first, offset],
        }
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            for name in names:
                file.write(_bytes(arrays[name]).data)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def kind(array: Any) -> str:
    """The name of an array's dtype, torch's included."""
    return str(getattr(array.dtype, "name", array.dtype)).removeprefix("torch.")


def size_bytes(array: Any) -> int:
    """How many bytes the array's numbers take in the file."""
    return int(np.prod(array.shape, dtype=np.int64)) * dtype_of(kind(array)).itemsize


def _bytes(array: Any) -> np.ndarray:
    """The numbers as the format stores them: contiguous, in the one byte order that JAX knows."""
    array = np.asarray(array, order="C")
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    return array.reshape(-1).view(np.uint8)
