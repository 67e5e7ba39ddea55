"""Pipelines of grain as loaders, their state in the run's checkpoint."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import json
from collections.abc import Callable, Generator, Iterator
from typing import Any

import jax
import numpy as np
from jax.sharding import Sharding

from fx.data.checks import as_integer, check_epoch, check_numbers, refuse_iteration
from fx.data.pipeline_print import fingerprint
from fx.data.placing import check_leaves, check_share, of_rows, place
from fx.data.prepare import stack_steps
from fx.data.reading import OPENING, TIMEOUT_S, Note, read_ahead

_END = object()
_ENDLESS = 1 << 48  # grain's length of `repeat()`, in batches of any size, is more


def from_grain(
    pipeline: Any,
    *,
    length: int | None = None,
    prefetch: int = 2,
    workers: int = 1,
    timeout_s: float | None = TIMEOUT_S,
    sharding: Sharding | None = None,
) -> GrainLoader:
    """Train on a pipeline of grain whose elements are batches.

    Args:
        pipeline: a `grain.MapDataset`, whose epochs follow each other as with its `repeat()`, so
            that what it shuffles is shuffled anew; or a `grain.IterDataset` or
            `grain.DataLoader`, each epoch one pass from its beginning; or a function of the epoch
            that returns one of these two, as `lambda epoch: make(seed=epoch)`. Elements are
            batches `(inputs, targets)` of NumPy arrays: end it with `.batch(n)`.
        length: steps in an epoch. A `MapDataset` knows it; where it is not known, training with
            `fx.fit` needs it. A pass ends there.
        prefetch: calls that are read ahead of the one in use.
        workers: threads that read a `MapDataset`; for the others grain has its own.
        timeout_s: the longest wait for a batch, six times as long for the first of a pass, since
            processes have to start; None waits for ever.
        sharding: of the global batch. With several processes each has to yield its own part, as
            with `grain.sharding.ShardByJaxProcess`.

    Returns:
        A `GrainLoader`.

    Raises:
        TypeError: it is none of these.
        ValueError: a number is out of range.

    Example:
        >>> import grain
        >>> numbers = grain.MapDataset.range(6).map(lambda i: (np.float32(i), np.int32(i)))
        >>> loader = from_grain(numbers.batch(2))
        >>> [targets.tolist() for _, targets in loader.epoch(0, start=1)]
        [[2, 3], [4, 5]]
    """
    return GrainLoader(pipeline, length, prefetch, workers, timeout_s, sharding)


@dataclasses.dataclass(frozen=True, eq=False)
class GrainLoader:
    """A pipeline of grain as `fx.fit` takes loaders; `from_grain` makes it.

    What `epoch` returns has a method `state()`: where the pipeline stands after the batch that was
    taken last, as JSON holds it. `epoch(..., state=)` goes on from there at once; without, it reads
    and drops what comes before `start`. A `MapDataset` needs neither, for it can be read anywhere.
    """

    pipeline: Any
    length: int | None = None
    prefetch: int = 2
    workers: int = 1
    timeout_s: float | None = TIMEOUT_S
    sharding: Sharding | None = None

    def __post_init__(self) -> None:
        for name in ("prefetch", "workers"):
            object.__setattr__(self, name, as_integer("from_grain", name, getattr(self, name)))
        check_numbers("from_grain", 1, self.workers, self.prefetch, self.timeout_s)
        check_share("from_grain", 0, None, self.sharding)
        if self.length is not None and as_integer("from_grain", "length", self.length) < 1:
            raise ValueError(f"from_grain: expected length of 1 or more, got {self.length}")
        if not self._random_access and not (
            callable(self.pipeline) or hasattr(self.pipeline, "__iter__")
        ):
            raise TypeError(
                f"from_grain: expected a grain MapDataset, IterDataset or DataLoader, or a "
                f"function of the epoch that returns one, got {type(self.pipeline).__name__}"
            )
        if self._steps == 0:
            raise ValueError("from_grain: the pipeline has no batch; check its filters and batch()")

    def __len__(self) -> int:
        """Return the number of steps in an epoch.

        Raises:
            ValueError: nobody knows; give `length=`.
        """
        steps = self._steps
        if steps is None:
            raise ValueError(
                "from_grain: the length of this pipeline is not known; give length=, the batches "
                "of one epoch"
            )
        return steps

    def fingerprint(self) -> str:
        """Return 8 hexadecimal digits that another pipeline most probably has not.

        They are of how it is put together: its stages with their numbers, the functions by their
        names. `fx.fit` compares them at a resume.
        """
        pipeline = self.pipeline(0) if _is_function(self.pipeline) else self.pipeline
        return fingerprint(pipeline)

    __iter__ = refuse_iteration

    def epoch(
        self, epoch: int, start: int = 0, steps_per_call: int = 1, *, state: Any = None
    ) -> GrainEpoch:
        """Give the batches of one epoch.

        Args:
            epoch: which one, from 0.
            start: the first step to yield.
            steps_per_call: how many steps one compiled call runs.
            state: what `state()` said of an iterator of the same epoch, after `start` steps.

        Returns:
            An iterator of batches with a method `state()`.

        Raises:
            TypeError: an argument is not an integer; a leaf is not an array of numbers.
            ValueError: an argument is out of range; the state is of another place; 64-bit integers
                do not fit.
            RuntimeError: the pipeline failed.
            TimeoutError: a worker is stuck.
        """
        numbers = check_epoch("from_grain: epoch", epoch, start, steps_per_call, self._steps)
        _let_workers_start()
        if state is not None and (state["epoch"], state["step"]) != numbers[:2]:
            raise ValueError(
                f"from_grain: expected the state of epoch {epoch} after {start} steps, got that of "
                f"epoch {state['epoch']} after {state['step']}"
            )
        return GrainEpoch(self, *numbers, state)

    def padded(self) -> Iterator[tuple[Any, jax.Array]]:
        """Yield epoch 0 in batches of the first one's size, with a mask.

        Returns:
            An iterator of `((inputs, targets), mask)`, as `Loader.padded`.

        Raises:
            ValueError: a batch is longer than the first.
        """
        size = 0
        with contextlib.closing(self._host_batches(0, 0, None)) as batches:
            for batch, _ in batches:
                count = len(jax.tree.leaves(batch)[0])
                size = size or count
                if count > size:
                    raise ValueError(
                        f"from_grain: expected batches of at most {size}, as the first, got one of "
                        f"{count}"
                    )
                rows = np.arange(size) % count  # repeats what is there
                batch = jax.tree.map(lambda leaf, rows=rows: np.asarray(leaf)[rows], batch)
                check_leaves("from_grain", batch)
                mask = place(np.arange(size) < count, of_rows(self.sharding))
                yield place(batch, self.sharding), mask

    @functools.cached_property
    def _random_access(self) -> bool:
        return hasattr(self.pipeline, "__getitem__") and hasattr(self.pipeline, "__len__")

    @property
    def _steps(self) -> int | None:
        if self.length is not None or not self._random_access:
            return self.length
        pipeline: Any = self.pipeline
        steps = len(pipeline)
        return None if steps > _ENDLESS else steps

    def _host_batches(self, epoch: int, start: int, state: Any) -> Generator[tuple[Any, Any]]:
        """Yield each batch of NumPy arrays with the iterator's state after it, read ahead."""
        if self._random_access:
            length = len(self)
            plan: Any = range(epoch * length + start, (epoch + 1) * length)
            workers, read = self.workers, self._read_at
        else:
            plan, workers = self._tasks(start), 1
            read = _Pass(self.pipeline, epoch, start, state)
        batches = read_ahead(
            plan,
            read,
            prefetch=self.prefetch,
            workers=workers,
            timeout_s=self.timeout_s,
            where="from_grain",
        )
        with contextlib.closing(batches):
            for found, after in batches:
                if found is _END:
                    return
                yield found, after

    def _tasks(self, start: int) -> Any:
        return itertools.count(start) if self.length is None else range(start, self.length)

    def _read_at(self, index: int, note: Note) -> tuple[Any, None]:
        note.doing = f"reading batch {index} of the pipeline"
        return self.pipeline[index], None


class _Pass:
    """One pass over an iterable pipeline; called once for each of its batches."""

    def __init__(self, pipeline: Any, epoch: int, start: int, state: Any) -> None:
        self.pipeline, self.epoch, self.start, self.state = pipeline, epoch, start, state
        self.iterator: Any = None

    def __call__(self, step: int, note: Note) -> tuple[Any, Any]:
        if self.iterator is None:
            note.doing, note.patience = f"opening the pipeline for epoch {self.epoch}", OPENING
            pipeline = self.pipeline(self.epoch) if _is_function(self.pipeline) else self.pipeline
            self.iterator = iter(pipeline)
            if self.state is not None:
                self.iterator.set_state(_unpack(self.state["iterator"]))
            else:
                for skipped in range(self.start):
                    note.doing = f"passing over batch {skipped} of the pipeline"
                    next(self.iterator, None)
        note.doing = f"reading batch {step} of the pipeline"
        found = next(self.iterator, _END)
        return found, None if found is _END else _pack(self.iterator.get_state())


class GrainEpoch:
    """The batches of one epoch of a `GrainLoader`: an iterator that can say where it stands."""

    def __init__(
        self, loader: GrainLoader, epoch: int, start: int, steps_per_call: int, state: Any
    ) -> None:
        self._position = epoch, start, None if state is None else state["iterator"]
        self._calls = _calls(loader, epoch, start, steps_per_call, state)

    def __iter__(self) -> GrainEpoch:
        return self

    def __next__(self) -> Any:
        batch, steps, after = next(self._calls)
        epoch, step, _ = self._position
        self._position = epoch, step + steps, after
        return batch

    def state(self) -> dict[str, Any] | None:
        """Return where the pipeline stands after the last batch, or None where that needs no state.

        Returns:
            A dict of what JSON knows, to be given to `epoch(..., state=)`.
        """
        epoch, step, iterator = self._position
        if iterator is None:
            return None
        return {"epoch": epoch, "step": step, "iterator": iterator}

    def close(self) -> None:
        """End the threads that read ahead."""
        self._calls.close()


def _calls(
    loader: GrainLoader, epoch: int, start: int, steps_per_call: int, state: Any
) -> Generator[tuple[Any, int, Any]]:
    """Yield placed batches of k steps, k, and the state after them."""

    def placed(task: tuple[list[Any], Any], note: Note) -> tuple[Any, int, Any]:
        held, after = task
        note.doing = "moving a batch to the device"
        batch = stack_steps("from_grain", held) if steps_per_call > 1 else held[0]
        check_leaves("from_grain", batch)
        batch = place(batch, loader.sharding, stacked=steps_per_call > 1)
        return batch, len(held), after

    return read_ahead(
        _grouped(loader._host_batches(epoch, start, state), steps_per_call),
        placed,
        prefetch=loader.prefetch,
        timeout_s=loader.timeout_s,
        where="from_grain",
    )


def _grouped(
    batches: Generator[tuple[Any, Any]], steps_per_call: int
) -> Generator[tuple[list[Any], Any]]:
    """Yield lists of up to k batches of one shape, and the state after them."""
    held: list[Any] = []
    after = None
    with contextlib.closing(batches):
        for batch, now in batches:
            if held and _shapes(batch) != _shapes(held[0]):  # a shorter last one
                yield held, after
                held = []
            held, after = [*held, batch], now
            if len(held) == steps_per_call:
                yield held, after
                held = []
    if held:
        yield held, after


def _shapes(batch: Any) -> list[tuple[int, ...]]:
    return [np.shape(leaf) for leaf in jax.tree.leaves(batch)]


def _let_workers_start() -> None:
    """Grain's worker processes read absl's flags, which a program without absl never parses."""
    from absl import flags

    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()


def _is_function(pipeline: Callable[[int], Any] | Any) -> bool:
    return callable(pipeline) and not hasattr(pipeline, "__iter__")


def _pack(state: Any) -> Any:
    """A DataLoader's state is the bytes of a JSON text, an IterDataset's a dict."""
    return {"text": state.decode()} if isinstance(state, bytes) else {"tree": json.dumps(state)}


def _unpack(state: dict[str, str]) -> Any:
    return state["text"].encode() if "text" in state else json.loads(state["tree"])
