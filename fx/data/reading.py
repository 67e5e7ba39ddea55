"""Reading ahead on threads: in order, within a time limit, and with an end."""

from __future__ import annotations

import dataclasses
import queue
import sys
import threading
import time
import traceback
import weakref
from collections import deque
from collections.abc import Callable, Generator, Iterable
from typing import Any

import jax

TIMEOUT_S = 10.0
"""How long a worker may be silent, where nobody says otherwise."""

OPENING = 6
"""How many times as long the first example of a stream may take: processes start, files open."""

_GRACE_S = 5.0  # for what is under way when nobody wants it any more
_SLICES = 20  # of the time limit; see _in_time


class ReadError(RuntimeError):
    """Reading or preparing an example failed; the text names it, and the cause is the reason."""


@dataclasses.dataclass
class Note:
    """What a worker is doing, for whoever waits for it; each new word is a sign of life.

    Attributes:
        doing: in words, as "reading sample 3", or a function that puts it so.
        thread: which thread it is on; None before it began.
        patience: by how much the time limit is longer for what it is doing.
    """

    doing: str | Callable[[], str] = "waiting for a free worker"
    thread: threading.Thread | None = None
    patience: int = 1

    def __str__(self) -> str:
        return self.doing if isinstance(self.doing, str) else self.doing()


@dataclasses.dataclass
class _Job:
    read: Callable[[Any, Note], Any]
    task: Any
    note: Note = dataclasses.field(default_factory=Note)
    done: threading.Event = dataclasses.field(default_factory=threading.Event)
    value: Any = None
    error: BaseException | None = None

    def run(self) -> None:
        self.note.thread = threading.current_thread()
        try:
            self.value = self.read(self.task, self.note)
        except BaseException as error:  # SystemExit would end the thread, and nobody would know
            self.error = error
        self.done.set()


class _Pool:
    """Threads that run jobs in the order they came.

    They are daemons, so that one that is stuck cannot keep the program from ending; the executors
    of `concurrent.futures` wait for it for ever.
    """

    def __init__(self, workers: int) -> None:
        self.jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        config: Any = jax.config
        # jax keeps these two settings for each thread.
        settings = (config.jax_default_device, config.jax_enable_x64)
        threads = [
            threading.Thread(
                target=_work, args=(self.jobs, *settings), daemon=True, name=f"fx-loader-{i}"
            )
            for i in range(workers)
        ]
        for thread in threads:
            thread.start()
        # At exit too: a thread inside of the runtime while it is torn down would crash it.
        self.close = weakref.finalize(self, _end, self.jobs, threads)


def _work(jobs: queue.SimpleQueue[_Job | None], device: Any, x64: bool) -> None:
    with jax.default_device(device), jax.enable_x64(x64):
        while (job := jobs.get()) is not None:
            job.run()
            del job  # or an idle thread would hold on to a batch


def _end(jobs: queue.SimpleQueue[_Job | None], threads: list[threading.Thread]) -> None:
    while True:
        try:
            jobs.get_nowait()
        except queue.Empty:
            break
    for _ in threads:
        jobs.put(None)
    deadline = time.monotonic() + _GRACE_S
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))


def read_ahead(
    plan: Iterable[Any],
    read: Callable[[Any, Note], Any],
    *,
    workers: int = 1,
    prefetch: int = 2,
    timeout_s: float | None = None,
    where: str = "Loader",
) -> Generator[Any]:
    """Yield `read(task, note)` for each task of a plan, in its order, read ahead on threads.

    Args:
        plan: the tasks.
        read: called on a thread; it writes into `note.doing` what it is at.
        workers: threads.
        prefetch: results that are ready or under way beyond the one in use; at least as many as
            there are workers to do them.
        timeout_s: how long a result may keep its consumer waiting without a new `note.doing`; None
            waits for ever.
        where: who reads, for the errors.

    Returns:
        A generator; closing it ends the threads.

    Raises:
        ReadError: `read` raised; its cause is the reason.
        TimeoutError: a worker showed no sign of life for so long.
    """
    pool = _Pool(workers)
    pending: deque[_Job] = deque()
    tasks, failure = iter(plan), None
    try:
        while True:
            try:
                task = next(tasks)
            except StopIteration:
                break
            except Exception as error:  # what was read before it comes first
                failure = error
                break
            pending.append(_Job(read, task))
            pool.jobs.put(pending[-1])
            if len(pending) > max(prefetch, workers - 1):
                yield _result(pending.popleft(), timeout_s, where)
        while pending:
            yield _result(pending.popleft(), timeout_s, where)
        if failure is not None:
            raise failure
    except TimeoutError:
        pool.close.detach()  # nobody waits for a thread that is stuck
        _drain(pool, workers)
        raise
    finally:
        pool.close()
        close = getattr(plan, "close", None)
        if close is not None:
            close()


def _drain(pool: _Pool, workers: int) -> None:
    """Have the threads that are not stuck end by themselves."""
    while not pool.jobs.empty():
        try:
            pool.jobs.get_nowait()
        except queue.Empty:
            break
    for _ in range(workers):
        pool.jobs.put(None)


def _result(job: _Job, timeout_s: float | None, where: str) -> Any:
    if timeout_s is None:
        job.done.wait()
    elif not _in_time(job, timeout_s):
        raise TimeoutError(
            f"{where}: a worker showed no sign of life for {timeout_s * job.note.patience:g} s; it "
            f"is still {job.note}{_place(job.note.thread)}; look there, or, where that may take "
            f"longer, raise timeout_s={timeout_s:g} (None waits for ever)"
        )
    error = job.error
    if isinstance(error, ReadError):
        raise error
    if error is not None:
        raise ReadError(
            f"{where}: {job.note} failed with {type(error).__name__}: {error}"
        ) from error
    return job.value


def _in_time(job: _Job, timeout_s: float) -> bool:
    """Wait for a job as long as its worker gets on."""
    # In slices: a program that was stopped for a while and goes on has not waited all that time.
    silent, seen = 0, job.note.doing
    while silent < _SLICES * job.note.patience:
        if job.done.wait(timeout_s / _SLICES):
            return True
        # A text is made anew for each example, so that even the same words are another object.
        silent, seen = (silent + 1 if job.note.doing is seen else 0), job.note.doing
    return job.done.is_set()


def _place(thread: threading.Thread | None) -> str:
    """Where in the code a thread is now: its innermost two calls."""
    frame = sys._current_frames().get(thread.ident) if thread and thread.ident else None
    if frame is None:
        return ""
    calls = traceback.extract_stack(frame)[-2:]
    return ", in " + " < ".join(f"{c.name} ({c.filename}:{c.lineno})" for c in reversed(calls))
