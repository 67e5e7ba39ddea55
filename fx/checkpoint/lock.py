"""One writer for a run's folder at a time."""

import contextlib
import datetime
import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

import jax

from fx.checkpoint.processes import together

try:
    import fcntl
except ModuleNotFoundError:  # Windows, which has no such locks
    fcntl = None

NAME = ".lock"


@contextlib.contextmanager
def only_writer(
    run_dir: str | os.PathLike[str], *, notify: Callable[[str], None] = print
) -> Iterator[None]:
    """Hold the lock on a run's folder, so that no two runs write to it at the same time.

    The lock (`flock` on `run_dir/.lock`) is the operating system's and ends with the process,
    however that ends; a file that a killed run left behind locks nothing. On NFS it holds between
    machines only where the server's lock service runs; Linux has done so by itself since 2.6.12.
    Windows has no such locks, and there nothing is held. With several processes the first one
    holds it for all.

    Args:
        run_dir: The run's folder; made where it is missing.
        notify: Called with a sentence where the file system cannot lock.

    Raises:
        BlockingIOError: Another process, or something else in this one, holds it; it is named.
        OSError: The folder cannot be made or written to.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as run, only_writer(run):
        ...     with only_writer(run):
        ...         pass
        Traceback (most recent call last):
        BlockingIOError: ...
    """
    path, stream = Path(run_dir).absolute() / NAME, None
    with together(f"taking the lock on {path.parent}"):
        if jax.process_index() == 0:
            stream = _take(path, notify)
    try:
        yield
    finally:
        if stream is not None:
            path.unlink(missing_ok=True)  # while it is held: who waits for the file looks again
            stream.close()


def _take(path: Path, notify: Callable[[str], None]) -> TextIO | None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        while fcntl is not None:
            stream = path.open("a+")
            if not _lock(stream, path, notify):
                stream.close()
                return None
            with contextlib.ExitStack() as undo:
                undo.callback(stream.close)
                if _is(stream, path):
                    _sign(stream)
                    undo.pop_all()
                    return stream
            # Its holder removed the file between our open and our lock: once more.
    except BlockingIOError:
        raise
    except OSError as error:
        raise OSError(
            error.errno,
            f"checkpoint: expected a folder that can be written to, but {path.parent} cannot "
            f"({error.strerror}); choose another",
        ) from error
    return None


def _lock(stream: TextIO, path: Path, notify: Callable[[str], None]) -> bool:
    assert fcntl is not None
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        with stream:
            holder = _holder(stream)
        raise BlockingIOError(
            f"checkpoint: expected to be the only one who writes to {path.parent}, but "
            f"{holder}; wait until that run has ended, or choose another folder"
        ) from None
    except OSError as error:  # some network file systems
        notify(
            f"checkpoint: {path.parent} cannot be locked ({error.strerror}); see to it that no "
            "other run writes there"
        )
        return False
    return True


def _is(stream: TextIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(stream.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _sign(stream: TextIO) -> None:
    now = datetime.datetime.now().astimezone().isoformat(" ", "seconds")
    stream.truncate(0)
    json.dump({"pid": os.getpid(), "host": socket.gethostname(), "since": now}, stream)
    stream.flush()


def _holder(stream: TextIO) -> str:
    stream.seek(0)
    try:
        known: dict[str, Any] = json.load(stream)
    except ValueError:  # it has the lock, and has not signed yet
        return "another process does"
    who = f"process {known['pid']} on {known['host']} has done so since {known['since']}"
    mine = known["pid"] == os.getpid() and known["host"] == socket.gethostname()
    return f"{who} (this very process: a Writer or a fit is open)" if mine else who
