"""Files appear whole or not at all, and JSON is strict."""

import math
import os
from pathlib import Path
from typing import Any


def plain(value: Any) -> Any:
    """Returns ``value`` as strict JSON has it: tuples as lists, nan and infinity as None."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):  # of NumPy or JAX
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def write_atomic(path: Path, data: bytes) -> None:
    """Writes ``data`` beside ``path``, then renames; a reader never sees half a file.

    Args:
        path: where to; its folder must exist, and a file that is there is replaced.
        data: the file's bytes.

    Raises:
        OSError: what the file system says; nothing is left behind.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
