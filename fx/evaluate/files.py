"""Files appear whole or not at all."""

import os
from pathlib import Path


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
