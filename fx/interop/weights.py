"""Weights in files: a flat dict of names and arrays, and no code."""

import errno
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fx.interop import safetensors_file, shards, torch_file
from fx.interop.naming import naming
from fx.interop.safetensors_file import DTYPES, kind
from fx.interop.torch_arrays import is_tensor, items, memory, tensor_array

# What Hugging Face's programs look for in a folder, in their order.
_IN_FOLDERS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)


def read_weights(
    path: str | os.PathLike[str], *, key: str | tuple[str, ...] = (), mmap: bool = True
) -> dict[str, np.ndarray]:
    """Reads weights from safetensors or from what `torch.save` wrote; nothing in a file is run.

    Args:
        path: a `.safetensors` file; a `.pth`, `.pt` or `.bin` of PyTorch, read without PyTorch and
            without executing its pickle; an index of several such files
            (`model.safetensors.index.json`); or a folder that holds one of these.
        key: where the weights are in a checkpoint of PyTorch that holds more than them:
            "state_dict", or ("ema", "model") for a dict in a dict.
        mmap: whether the arrays are read-only views of the file, whose pages are read when they
            are used. Not for a file that will be written into; one replaced by `write_weights`
            stays readable. False reads all of it now.

    Returns:
        The arrays by name, in NumPy: JAX without x64 would turn int64 and float64 into 32 bits.
        bfloat16 and float8 come as `ml_dtypes` has them, which JAX takes as they are. Names that
        share an array in the file (tied weights) share it here.

    Raises:
        FileNotFoundError: there is no file at `path`, or one of those that an index names.
        ValueError: the file is cut short, damaged or of another format; a pickle in it holds
            something else than plain data and dense tensors (named; nothing is run), or declares
            more than the file has; there is no flat dict of arrays under `key` (what there is, is
            listed); a tensor has a type that NumPy lacks.

    Example:
        >>> import tempfile
        >>> path = f"{tempfile.mkdtemp()}/model.safetensors"
        >>> write_weights(path, {"fc.bias": np.zeros(3, np.float32)})
        >>> read_weights(path)
        {'fc.bias': array([0., 0., 0.], dtype=float32)}

    Source: https://huggingface.co/docs/safetensors, torch.load(weights_only=True, mmap=True)
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"read_weights: no file at {path}")
    if path.is_dir():
        path = _in_folder(path)
    if path.name.endswith(".json"):
        return shards.read(path, lambda file: _read_file(file, key, mmap))
    return _read_file(path, key, mmap)


def _read_file(path: Path, key: str | tuple[str, ...], mmap: bool) -> dict[str, np.ndarray]:
    with path.open("rb") as file:
        start = file.read(64)
    if start.startswith(b"version https://git-lfs"):
        raise ValueError(
            f"read_weights: {path} is a pointer of Git LFS, not the file itself; run: git lfs pull"
        )
    # The header of safetensors begins with "{"; the 8 bytes before it may be anything.
    if start[8:9] != b"{" and start.startswith((b"PK\x03\x04", b"\x80")):
        return torch_file.select(torch_file.read_torch(path, mmap=mmap), key, path)
    if key:
        raise ValueError(
            f"read_weights: key={key!r} is for checkpoints of PyTorch; {path} is none: leave it out"
        )
    arrays, metadata = safetensors_file.read(path, mmap)
    return shards.with_aliases(arrays, metadata)


def _in_folder(folder: Path) -> Path:
    for name in _IN_FOLDERS:
        if (folder / name).is_file():
            return folder / name
    found = sorted(
        p for p in folder.iterdir() if p.suffix in {".safetensors", ".pth", ".pt", ".bin"}
    )
    if len(found) == 1:
        return found[0]
    there = ", ".join(p.name for p in found) or "no file of weights"
    raise ValueError(
        f"read_weights: expected {', '.join(_IN_FOLDERS)} or one file of weights in the folder "
        f"{folder}, got {there}; name the file (a bundle's is weights.safetensors)"
    )


def write_weights(
    path: str | os.PathLike[str],
    weights: Mapping[str, Any],
    *,
    max_shard_size: int | str | None = None,
) -> None:
    """Writes arrays as safetensors, each file whole or not at all.

    The bytes are a function of names and values alone. `safetensors.torch.load_file` reads them,
    and so do the programs of Hugging Face. Tied weights (names of one array, as `fx.state_dict`
    lists them) are written once, under the name that sorts first, and the metadata says which
    others it has, as `safetensors.torch.save_model` does; `read_weights` gives all of them back.

    Args:
        path: the file; one that exists is replaced, by a rename once all is written.
        weights: arrays of NumPy or JAX, or tensors of torch, of any shape and memory layout, by
            name, as `fx.state_dict` gives them. Neither the dict nor the arrays are changed.
        max_shard_size: bytes, or "5GB", "500MB" (powers of ten). If there is more than that,
            `model.safetensors` becomes `model-00001-of-00002.safetensors`, ..., each at most so
            large unless one array is larger, and `model.safetensors.index.json`.

    Raises:
        TypeError: `weights` is not a dict, a name is not a string, a value is not an array, or its
            dtype is not in the format (a PRNG key, an object, complex128).
        ValueError: a name is `__metadata__`, which the format keeps for itself; `max_shard_size`
            is not a size; the path ends as files of other formats do, ".pth" say.
        OSError: `path` cannot be written to: its folder is not there or read-only, it is a folder
            itself, the disk is full. Nothing is left behind.

    Example:
        >>> import tempfile
        >>> write_weights(f"{tempfile.mkdtemp()}/model.safetensors", {"w": np.eye(2)})

    Source: https://huggingface.co/docs/safetensors, huggingface_hub.save_torch_state_dict
    """
    path, limit = Path(path), shards.parse_size(max_shard_size)
    if path.suffix in (".pth", ".pt", ".bin", ".ckpt", ".npz", ".npy", ".h5"):
        raise ValueError(
            f'write_weights: expected a path for safetensors, got "{path}"; end it with '
            '".safetensors", or write torch\'s format: torch.save(fx.to_torch(weights), path)'
        )
    arrays = {name: _storable(name, value) for name, value in items("write_weights", weights)}
    aliases = _aliases(dict(weights))  # a tensor on a GPU has been copied by now
    kept = {name: array for name, array in arrays.items() if name not in aliases}
    with naming("write_weights", path):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "")
        shards.write(path, kept, aliases, limit)


def _aliases(arrays: Mapping[str, Any]) -> dict[str, str]:
    """Of names that share an array, those that are left out, and under which name it stands."""
    first: dict[tuple, str] = {}
    aliases = {}
    for name in sorted(arrays):
        same = memory(arrays[name])
        kept = name if same is None else first.setdefault(same, name)
        if kept != name and name not in shards.FORMAT:
            aliases[name] = kept
    return aliases


def _storable(name: Any, value: Any) -> Any:
    """The value, if the format has its dtype; a tensor of torch as the array that it is."""
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
    if kind(value) not in DTYPES:
        raise TypeError(
            f'write_weights "{name}": expected one of {", ".join(sorted(DTYPES))}, '
            f"got {value.dtype}; convert it first (a PRNG key: jax.random.key_data(key))"
        )
    return tensor_array(value, f'write_weights "{name}"') if is_tensor(value) else value
