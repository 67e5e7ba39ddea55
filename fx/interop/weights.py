"""Weights in safetensors files: a flat dict of names and arrays, and no code."""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes  # noqa: F401  # numpy learns bfloat16 here, and safetensors needs it to read some
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

DTYPES = frozenset(
    "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 "
    "float16 bfloat16 float32 float64 complex64".split()
)


def read_weights(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Reads a safetensors file.

    Args:
        path: the file, written by `write_weights`, by `safetensors.torch.save_file` or by any
            other program that writes the format.

    Returns:
        The arrays by name, in NumPy: JAX without x64 would turn int64 and float64 into 32 bits.
        bfloat16 comes as `ml_dtypes.bfloat16`, which JAX takes as it is.

    Raises:
        FileNotFoundError: there is no file at `path`.
        ValueError: `path` is a folder, a `.pth` of PyTorch, cut short, or something else
            that is not a safetensors file; or a tensor in it has a type that NumPy lacks (float8).

    Example:
        >>> import tempfile
        >>> path = f"{tempfile.mkdtemp()}/model.safetensors"
        >>> write_weights(path, {"fc.bias": np.zeros(3, np.float32)})
        >>> read_weights(path)
        {'fc.bias': array([0., 0., 0.], dtype=float32)}

    Source: https://huggingface.co/docs/safetensors
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"read_weights: no file at {path}")
    if path.is_dir():
        raise ValueError(
            f"read_weights: expected a safetensors file, got the folder {path}; "
            "the weights of a bundle are in its weights.safetensors"
        )
    _refuse_other_formats(path)
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(
            f"read_weights: {path} ({path.stat().st_size} bytes) is not a whole safetensors file "
            f"({error}); it was cut short or is of another format: copy or write it again"
        ) from error
    except AttributeError as error:  # safetensors looks the type up in numpy, float8 in vain
        raise ValueError(
            f"read_weights: {path} holds a type that NumPy does not have ({error}); "
            f"convert it to one of {', '.join(sorted(DTYPES))}"
        ) from error


def _refuse_other_formats(path: Path) -> None:
    with path.open("rb") as file:
        start = file.read(64)
    if start[8:9] == b"{":  # the header of safetensors; the 8 bytes before it may be anything
        return
    if start.startswith((b"PK\x03\x04", b"\x80")):
        raise ValueError(
            f"read_weights: {path} is a zip archive or a pickle, as torch.save writes, which can "
            "hold code; write it once as safetensors where PyTorch is installed: "
            "safetensors.torch.save_file(model.state_dict(), 'model.safetensors')"
        )
    if start.startswith(b"version https://git-lfs"):
        raise ValueError(
            f"read_weights: {path} is a pointer of Git LFS, not the file itself; run: git lfs pull"
        )


def write_weights(path: str | os.PathLike[str], weights: Mapping[str, Any]) -> None:
    """Writes arrays to a safetensors file, whole or not at all.

    The bytes are a function of names and values alone. `safetensors.torch.load_file` reads them.

    Args:
        path: the file; one that exists is replaced, by a rename once all is written.
        weights: arrays of NumPy or JAX of any shape and memory layout, by name, as `fx.state_dict`
            gives them. Neither the dict nor the arrays are changed.

    Raises:
        TypeError: a name is not a string, a value is not an array, or its dtype is not in the
            format (a PRNG key, an object, complex128).
        ValueError: a name is `__metadata__`, which the format keeps for itself.

    Example:
        >>> import tempfile
        >>> write_weights(f"{tempfile.mkdtemp()}/model.safetensors", {"w": np.eye(2)})

    Source: https://huggingface.co/docs/safetensors
    """
    path = Path(path)
    arrays = {name: _dense(name, value) for name, value in weights.items()}
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        save_file(arrays, temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _dense(name: Any, value: Any) -> np.ndarray:
    """The value as the contiguous array of numbers that the format stores."""
    if not isinstance(name, str):
        raise TypeError(f"write_weights: expected names that are strings, got {name!r}")
    if name == "__metadata__":
        raise ValueError("write_weights: the format keeps the name '__metadata__'; use another")
    if isinstance(value, Mapping):
        raise TypeError(
            f'write_weights "{name}": expected an array, got a dict; '
            "flatten it first: fx.state_dict(model, params, state)"
        )
    if not hasattr(value, "dtype"):
        raise TypeError(
            f'write_weights "{name}": expected an array, got {type(value).__name__}; '
            "wrap it: numpy.asarray(value, dtype)"
        )
    try:
        array = np.asarray(value, order="C")
    except TypeError:  # a typed PRNG key of JAX, a bfloat16 tensor of torch
        array = None
    if array is None or array.dtype.name not in DTYPES:
        raise TypeError(
            f'write_weights "{name}": expected one of {", ".join(sorted(DTYPES))}, '
            f"got {value.dtype}; convert it first (a PRNG key: jax.random.key_data(key))"
        )
    return array
