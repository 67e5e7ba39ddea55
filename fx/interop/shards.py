"""Weights in several files and an index, and tied weights in the metadata, as Hugging Face does."""

import json
import os
import re
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fx.interop import safetensors_file

FORMAT = {"format": "pt"}  # transformers opens no file that does not say so
_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def read(index: Path, read_file: Callable[[Path], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The arrays of all files that an index names, in its order.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: it is not an index, names a file outside of its folder, or a name that is not
            in the file.
    """
    try:
        contents = json.loads(index.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"read_weights: {index} is not JSON ({error})") from error
    places = contents.get("weight_map") if isinstance(contents, dict) else None
    if not isinstance(places, dict) or not all(isinstance(v, str) for v in places.values()):
        raise ValueError(
            f'read_weights: {index} is not an index of weights: expected "weight_map", a file for '
            "each name; name the file that holds the weights"
        )
    names = sorted(set(places.values()))
    for name in names:
        if name in ("", "..") or set(name) & {"/", "\\", ":"} or name.endswith(".json"):
            raise ValueError(
                f"read_weights: {index} names {name!r}; expected files of weights beside the index"
            )
    missing = [name for name in names if not (index.parent / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"read_weights: {index} names {len(names)} files, of which {', '.join(missing)} are "
            "missing; copy them beside it"
        )
    files = {name: read_file(index.parent / name) for name in names}
    absent = [f"{name} in {file}" for name, file in places.items() if name not in files[file]]
    if absent:
        raise ValueError(f"read_weights: {index} names what is not there: {', '.join(absent[:8])}")
    arrays = {name: files[file][name] for name, file in places.items()}
    return with_aliases(arrays, contents.get("metadata"))


def with_aliases(arrays: dict[str, np.ndarray], metadata: Any) -> dict[str, np.ndarray]:
    """Tied weights under all of their names; the file has them under one."""
    said = metadata.items() if isinstance(metadata, dict) else ()
    tied = {n: arrays[k] for n, k in said if isinstance(k, str) and k in arrays and n not in arrays}
    return arrays | tied


def write(path: Path, arrays: Mapping[str, Any], aliases: dict[str, str], limit: int | None):
    """Write one file, or several and an index where there is more than `limit` bytes."""
    index = path.with_name(f"{path.name}.index.json")
    parts = _split(arrays, limit)
    if len(parts) == 1:
        safetensors_file.write(path, parts[0], FORMAT | aliases)
        _remove_old(path, index, keep={path})
        return
    files = [
        path.with_name(f"{path.stem}-{i:05d}-of-{len(parts):05d}{path.suffix}")
        for i in range(1, len(parts) + 1)
    ]
    for file, part in zip(files, parts):
        safetensors_file.write(file, part, FORMAT)
    places = {name: file.name for file, part in zip(files, parts) for name in part}
    total = sum(map(safetensors_file.size_bytes, arrays.values()))
    _write_json(index, {"metadata": {"total_size": total, **aliases}, "weight_map": places})
    _remove_old(path, index, keep={index, *files})


def parse_size(size: int | str | None) -> int | None:
    """Bytes from 5_000_000_000 or "5GB"."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([KMGT]?B|)", str(size).upper())
    if size is None:
        return None
    if isinstance(size, bool) or match is None or float(match[1]) <= 0:
        raise ValueError(
            f'write_weights: expected max_shard_size in bytes or as "5GB", got {size!r}'
        )
    return int(float(match[1]) * _UNITS[match[2]])


def _split(arrays: Mapping[str, Any], limit: int | None) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = [{}]
    filled = 0
    for name, array in arrays.items():
        size = safetensors_file.size_bytes(array)
        if limit is not None and parts[-1] and filled + size > limit:
            parts.append({})
            filled = 0
        parts[-1][name] = array
        filled += size
    return parts


def _write_json(path: Path, contents: Any) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        temporary.write_text(json.dumps(contents, indent=2, ensure_ascii=False) + "\n", "utf-8")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _remove_old(path: Path, index: Path, keep: set[Path]) -> None:
    """Remove what stood under this name before in the other form: one file, or an index's."""
    pattern = re.compile(rf"{re.escape(path.stem)}-\d{{5}}-of-\d{{5}}{re.escape(path.suffix)}")
    shards = [p for p in path.parent.iterdir() if pattern.fullmatch(p.name)]
    for old in (path, index, *(shards if index.exists() else ())):
        if old not in keep and old.is_file():
            old.unlink()
