"""Errors of the file system that name the path which was given, not a temporary file beside it."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def naming(where: str, path: Path) -> Iterator[None]:
    """Around what writes to `path` by way of other files.

    Args:
        where: who writes, for the error.
        path: what the user gave.

    Raises:
        OSError: what the file system said, of the kind that it raised, about `path`.

    Example:
        >>> with naming("save", Path("/no/such/folder/file")):
        ...     Path("/no/such/folder/.file.tmp").touch()
        Traceback (most recent call last):
        FileNotFoundError: [Errno 2] save: expected a path that can be written to, but \
/no/such/folder/file cannot (No such file or directory); make the folder /no/such/folder first
    """
    try:
        yield
    except OSError as error:
        if error.errno is None:  # it was not the file system
            raise
        raise OSError(
            error.errno,
            f"{where}: expected a path that can be written to, but {path} cannot "
            f"({os.strerror(error.errno)}); {_advice(path, error.errno)}",
        ) from error


def _advice(path: Path, code: int) -> str:
    if code == errno.EISDIR:
        return f"it is a folder: give a file in it, as {path / 'model.safetensors'}"
    if not path.parent.exists():
        return f"make the folder {path.parent} first"
    if not path.parent.is_dir():
        return f"{path.parent} is a file; choose a folder"
    return "choose another folder, or make room and rights in this one"
