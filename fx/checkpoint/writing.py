"""Writing a run's checkpoints: at once, or on a thread while training goes on."""

import contextlib
import dataclasses
import errno
import json
import logging
import operator
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax

from fx.checkpoint.folder import begin, folder_of, known_steps, prune, replace
from fx.checkpoint.lock import only_writer
from fx.checkpoint.manifest import write_manifest
from fx.checkpoint.processes import together
from fx.checkpoint.tree import copies, is_stored, named, spec, state_names

_TIMEOUT_S = 2 * 60 * 60  # orbax gives up after 20 minutes, which a slow disk may take


def save(
    run_dir: str | os.PathLike[str],
    ts: Any,
    loop_state: dict[str, Any],
    *,
    keep: int = 2,
    best: bool = False,
    hold: Iterable[int] = (),
) -> Path:
    """Write a checkpoint of a training state and of the loop around it, then remove old ones.

    It returns when all of it is on the disk; a `Writer` returns at once.

    Args:
        run_dir: The run's folder; the checkpoint goes to `run_dir/checkpoints/<step>`. A step that
            is there already is replaced.
        ts: A pytree of arrays with an attribute `step`. Typed PRNG keys, bfloat16 and sharded
            arrays are kept as they are.
        loop_state: Nested dictionaries (with text as keys) and lists of numbers, text, True, False
            and None. Floats come back to the bit, nan and infinities included.
        keep: How many of the newest steps to keep; the newest best one is kept as well.
        best: Whether this is the best step so far.
        hold: Earlier steps that are to stay as well.

    Returns:
        The checkpoint's folder.

    Raises:
        ValueError: keep below 1, or a state whose arrays were donated to a later step.
        TypeError: A ts without `step`; something in loop_state that JSON would lose or change.
        BlockingIOError: Another run writes to this folder; see `only_writer`.
        OSError: The disk is full, the folder cannot be written to, or the like. Nothing of this
            step is left, and the steps before are as they were.

    Example:
        >>> import tempfile
        >>> import jax
        >>> import fx
        >>> class Scale:
        ...     def init(self, key):
        ...         return {"weight": jax.random.normal(key, (3,))}, {}
        >>> ts = fx.train.create(Scale(), fx.optim.sgd(0.1), jax.random.key(0))
        >>> with tempfile.TemporaryDirectory() as run:
        ...     save(run, ts, {"epoch": 0}).name
        ...     ts, loop_state = fx.checkpoint.restore(run, like=ts)
        '0'
        >>> loop_state
        {'epoch': 0}
    """
    job = _prepare(run_dir, ts, loop_state, keep, best, hold)
    with only_writer(run_dir):
        job.write()
    return job.final


class Writer:
    """Write the checkpoints of a run on a thread of its own, while training goes on.

    A context manager: it holds the lock on the run's folder (see `only_writer`), and at its end it
    waits for what is being written. One checkpoint is written at a time; a second `save` waits for
    the first. With several processes a checkpoint is a joint effort, and steps of the training are
    too; the two must come in one order on all of them, so there `save` returns when it is written.

    Args:
        run_dir: The run's folder.

    Example:
        >>> import tempfile
        >>> import jax.numpy as jnp
        >>> import fx
        >>> ts = fx.train.TrainState(jnp.int32(3), {"w": jnp.ones(2)}, {}, (), jnp.zeros(1))
        >>> with tempfile.TemporaryDirectory() as run:
        ...     with Writer(run) as writer:
        ...         path = writer.save(ts, {"epoch": 1})
        ...         ts.params["w"].delete()  # as a step that donates its state would
        ...     print(fx.checkpoint.steps(run), fx.checkpoint.verify(path))
        [3] []
    """

    def __init__(self, run_dir: str | os.PathLike[str]) -> None:
        self.run_dir = Path(run_dir).absolute()
        self._pending: Future[None] | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._lock = contextlib.ExitStack()

    def __enter__(self) -> "Writer":
        """Take the lock and start the thread.

        Raises:
            BlockingIOError: Another run writes to this folder.
            OSError: The folder cannot be made or written to.
        """
        self._lock.enter_context(only_writer(self.run_dir))
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="fx-checkpoint")
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        """Wait for what is being written; an error in it does not hide one from the block."""
        try:
            self.wait()
        except Exception as failure:
            if error is None:
                raise
            error.add_note(f"{type(failure).__name__} while its end was waited for: {failure}")
        finally:
            assert self._pool is not None
            self._pool.shutdown()
            self._pool = None
            self._lock.close()

    def save(
        self,
        ts: Any,
        loop_state: dict[str, Any],
        *,
        keep: int = 2,
        best: bool = False,
        hold: Iterable[int] = (),
    ) -> Path:
        """Copy a state, and start to write it as `checkpoint.save` does.

        The copy is ordered before any later step, so a step may reuse the state's memory. It takes
        no memory of an accelerator: it goes to the host's.

        Args:
            ts: As for `checkpoint.save`.
            loop_state: As there.
            keep: As there.
            best: As there.
            hold: As there.

        Returns:
            The folder in which the checkpoint will be.

        Raises:
            RuntimeError: The writer is not open.
            ValueError, TypeError: As `checkpoint.save`, at once.
            OSError: As `checkpoint.save`; but of the checkpoint before, which failed meanwhile.
        """
        if self._pool is None:
            raise RuntimeError(
                "checkpoint.Writer: expected to be used inside of `with Writer(...)`"
            )
        job = _prepare(self.run_dir, ts, loop_state, keep, best, hold)
        self.wait()
        if jax.process_count() > 1:
            job.write()
        else:
            job = dataclasses.replace(job, arrays=copies(job.arrays))
            self._pending = self._pool.submit(job.write)
        return job.final

    def wait(self) -> None:
        """Return when the last checkpoint is on the disk.

        Raises:
            OSError: It could not be written.
        """
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()


@dataclasses.dataclass(frozen=True)
class _Job:
    """A checkpoint to be written: everything in it, checked."""

    folder: Path
    step: int
    arrays: dict[str, Any]
    loop_text: str
    facts: dict[str, Any]
    keep: int
    hold: frozenset[int]

    @property
    def final(self) -> Path:
        return self.folder / str(self.step)

    def write(self) -> None:
        """Write it whole, or leave nothing of it."""
        first, temporary = jax.process_index() == 0, self.folder / f"{self.step}.tmp"
        try:
            with together("making a checkpoint's folder"):
                if first:
                    begin(self.folder, self.step)
            with together("writing a checkpoint's arrays"):
                stored = {n: leaf for n, leaf in self.arrays.items() if is_stored(leaf)}
                _write_arrays(temporary / "tree", stored)
            with together("finishing a checkpoint"):
                if first:
                    (temporary / "loop.json").write_text(self.loop_text)
                    write_manifest(temporary, self.facts)
                    replace(temporary, self.final)
                    prune(self.folder, self.step, self.keep, self.hold)
        except Exception as error:
            whole = not temporary.exists()
            if first:
                shutil.rmtree(temporary, ignore_errors=True)
            code = _os_error(error)
            if code is None:
                raise
            raise OSError(code, self._explanation(code, whole)) from error

    def _explanation(self, code: int, whole: bool) -> str:
        what = f"step {self.step} could not be written to {self.folder}"
        if whole and self.final.exists():
            what = f"step {self.step} is written, but not all old ones could be removed"
        left = known_steps(self.folder)
        there = f"the checkpoints there are untouched: {left}" if left else "none is there"
        full = code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        todo = "make room, or lower keep" if full else "see to it that the folder can be written to"
        return f"checkpoint: {what} ({os.strerror(code)}); {there}; {todo}, and go on from there"


def _prepare(
    run_dir: str | os.PathLike[str],
    ts: Any,
    loop_state: dict[str, Any],
    keep: int,
    best: bool,
    hold: Iterable[int],
) -> _Job:
    """Check everything that can be checked before something is written."""
    if keep < 1:
        raise ValueError(f"checkpoint.save: expected keep of 1 or more, got {keep}")
    _check_json(loop_state, "loop_state")
    try:
        held = frozenset(map(operator.index, hold))
    except TypeError as error:
        raise TypeError(f"checkpoint.save: expected hold as steps, integers, got {hold}") from error
    if not hasattr(ts, "step"):
        raise TypeError(
            f"checkpoint.save: expected a state with an attribute `step`, got {type(ts).__name__}; "
            "several models and optimizers go into one as dicts: train.TrainState(step, params="
            '{"a": ..., "b": ...}, state={...}, opt_state={...}, key=key)'
        )
    arrays = named(ts)
    gone = [name for name, a in arrays.items() if isinstance(a, jax.Array) and a.is_deleted()]
    if gone:
        raise ValueError(
            f"checkpoint.save: {', '.join(gone)} went into a later step, which reused the memory; "
            "save the state that the step returned, or make the step with donate=False"
        )
    step = int(jax.device_get(ts.step))
    facts = {
        "step": step,
        "best": best,
        "optimizer": state_names(ts),
        "tree": {name: spec(leaf) for name, leaf in arrays.items()},
    }
    return _Job(folder_of(run_dir), step, arrays, json.dumps(loop_state), facts, keep, held)


def _write_arrays(path: Path, arrays: dict[str, Any]) -> None:
    from orbax.checkpoint import v1  # takes half a second, and no other part of fx needs it

    context = v1.Context()
    context.asynchronous.timeout_secs = _TIMEOUT_S
    # Made in the background, folders have a time limit of their own, which a busy machine missed.
    context.asynchronous.create_directories_asynchronously = False
    # It makes weights 8 % smaller and takes five times the processor time, from a CPU's own steps.
    context.array.saving.use_compression = False
    with context, _one_traceback():
        v1.save(str(path), arrays)


@contextlib.contextmanager
def _one_traceback() -> Iterator[None]:
    """Keep orbax from logging the traceback of each of its threads: the error is raised anyway."""

    def is_new(record: logging.LogRecord) -> bool:
        return "_SignalingThread" not in str(record.msg)

    logger = logging.getLogger("absl")
    logger.addFilter(is_new)
    try:
        yield
    finally:
        logger.removeFilter(is_new)


def _os_error(error: Exception) -> int | None:
    """The operating system's code for what went wrong, where it was its doing."""
    if isinstance(error, OSError):
        return error.errno
    found = re.search(r"os_error_code='(\d+)'", str(error))  # a ValueError of tensorstore
    return int(found[1]) if found else None


def _check_json(value: Any, where: str) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise TypeError(f"{where}: expected text as keys, got {key!r}; use str({key!r})")
            _check_json(item, f"{where}[{key!r}]")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _check_json(item, f"{where}[{index}]")
    elif value is not None and type(value) not in (bool, int, float, str):
        raise TypeError(
            f"{where}: expected dict, list, text, number, bool or None, got "
            f"{type(value).__name__}; JSON would lose it or change it; convert it first"
        )
