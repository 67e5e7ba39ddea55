"""Batches of what can only be iterated over."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
from collections.abc import Callable, Generator, Iterator
from typing import Any

import jax
import numpy as np
from jax.sharding import Sharding

from fx.data.checks import as_integer, check_epoch, check_functions, check_numbers, refuse_iteration
from fx.data.examples import Stream, as_example
from fx.data.placing import check_leaves, check_share, of_rows, place, share
from fx.data.prepare import Prepare, stack_steps
from fx.data.reading import OPENING, TIMEOUT_S, Note, read_ahead

_END = object()


@dataclasses.dataclass(frozen=True, eq=False)
class StreamLoader:
    """Batches of an iterable of examples, in the order that they come; an epoch is one pass.

    It is as deterministic as the iterable. `start=` reads and drops what comes before it. One
    thread draws the examples; others transform and collate them.

    Args:
        stream: an iterable of examples `(input, target)` that gives a new pass each time (a list,
            an object with `__iter__`); or a function of the epoch that returns one, as
            `lambda epoch: read_lines(seed=epoch)`; or a `Stream`, as `from_torch` makes it.
        batch_size: examples in a batch; in the global one, where it is sharded.
        length: examples in a pass, where `len(stream)` does not tell. Training with `fx.fit`
            needs it; a pass ends there, and one that ends before is an error.
        seed: for the random numbers of transforms.
        drop_last: leave out a shorter last batch.
        prefetch: calls that are read ahead of the one in use.
        transform: as for `Loader`; an example's index is its place in the pass.
        collate: as for `Loader`.
        batch_transform: as for `Loader`.
        workers: threads that transform and collate.
        timeout_s: as for `Loader`; six times as long for the first example of a pass.
        sharding: as for `Loader`. Each process draws all examples and keeps its own.
        shard: likewise.

    Raises:
        TypeError: `stream` cannot be iterated over, or only once; a number is not an integer.
        ValueError: a number is out of range; a batch does not divide over the shards.

    Example:
        >>> def squares(epoch):
        ...     return ((np.float32(i * i), i) for i in range(5))
        >>> for inputs, targets in StreamLoader(squares, 2).epoch(0):
        ...     print(inputs)
        [0. 1.]
        [4. 9.]
        [16.]
    """

    stream: Any
    batch_size: int
    _: dataclasses.KW_ONLY
    length: int | None = None
    seed: int = 0
    drop_last: bool = False
    prefetch: int = 2
    transform: Callable[..., Any] | None = None
    collate: Callable[[list[Any]], Any] | None = None
    batch_transform: Callable[..., Any] | None = None
    workers: int = 1
    timeout_s: float | None = TIMEOUT_S
    sharding: Sharding | None = None
    shard: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        stream = self.stream
        if not callable(stream) and not hasattr(stream, "__iter__"):
            raise TypeError(
                f"StreamLoader: expected an iterable of examples, or a function of the epoch that "
                f"returns one, got {type(stream).__name__}"
            )
        if isinstance(stream, Iterator):
            raise TypeError(
                f"StreamLoader: expected an iterable that can be read again in each epoch, got a "
                f"{type(stream).__name__}, which is used up after one pass; give a function that "
                "makes it, lambda epoch: ..."
            )
        for name in ("batch_size", "seed", "prefetch", "workers"):
            object.__setattr__(self, name, as_integer("StreamLoader", name, getattr(self, name)))
        check_numbers("StreamLoader", self.batch_size, self.workers, self.prefetch, self.timeout_s)
        if self.length is not None and as_integer("StreamLoader", "length", self.length) < 1:
            raise ValueError(f"StreamLoader: expected length of 1 or more, got {self.length}")
        known = self._examples
        rest = known % self.batch_size if known is not None and not self.drop_last else 0
        check_share("StreamLoader", self.batch_size, self.shard, self.sharding, rest)
        check_functions("StreamLoader", self.transform, self.collate, self.batch_transform)

    def __len__(self) -> int:
        """Return the number of steps in an epoch.

        Raises:
            ValueError: nobody knows; give `length=`.
        """
        steps = self._steps
        if steps is None:
            raise ValueError(
                "StreamLoader: the length of this stream is not known; give length=, the examples "
                "in one pass"
            )
        return steps

    __iter__ = refuse_iteration

    def epoch(self, epoch: int, start: int = 0, steps_per_call: int = 1) -> Iterator[Any]:
        """Yield the batches of one pass.

        Args:
            epoch: which one, from 0.
            start: the first step to yield; what comes before is read and dropped.
            steps_per_call: how many steps one compiled call runs.

        Returns:
            An iterator of `(inputs, targets)`, as `Loader.epoch`.

        Raises:
            TypeError: an argument is not an integer; a leaf is not an array of numbers.
            ValueError: an argument is out of range; 64-bit integers do not fit.
            RuntimeError: the stream, a transform or collating failed, or the stream ended before
                its length.
            TimeoutError: a worker is stuck.
        """
        numbers = check_epoch("StreamLoader.epoch", epoch, start, steps_per_call, self._steps)
        return self._batches(*numbers, self.drop_last, self._draw(numbers[0], self._examples))

    def padded(self) -> Iterator[tuple[Any, jax.Array]]:
        """Yield every example of epoch 0 once, in batches of one size.

        Returns:
            An iterator of `((inputs, targets), mask)`, as `Loader.padded`.

        Raises:
            RuntimeError: as `epoch`.
        """
        check_share("StreamLoader.padded", self.batch_size, self.shard, self.sharding)
        here = share(self.batch_size, self.shard, self.sharding)
        rows = of_rows(self.sharding)
        counts: list[int] = []

        def fill(chunks: Generator[list]) -> Generator[list]:
            with contextlib.closing(chunks):
                for chunk in chunks:
                    counts.append(len(chunk))
                    yield chunk + chunk[:1] * (self.batch_size - len(chunk))

        chunks = fill(self._draw(0, self._examples))
        with contextlib.closing(self._batches(0, 0, 1, False, chunks)) as batches:
            for batch in batches:
                mask = np.arange(self.batch_size) < counts.pop(0)
                yield batch, place(mask[here], rows, size=self.batch_size)

    @functools.cached_property
    def _examples(self) -> int | None:
        if self.length is not None:
            return self.length
        if isinstance(self.stream, Stream):
            return self.stream.length
        return len(self.stream) if hasattr(self.stream, "__len__") else None

    @property
    def _steps(self) -> int | None:
        if self._examples is None:
            return None
        full, rest = divmod(self._examples, self.batch_size)
        return full + (rest > 0 and not self.drop_last)

    @functools.cached_property
    def _prepare(self) -> Prepare:
        return Prepare(
            "StreamLoader", self.seed, self.transform, self.collate, self.batch_transform
        )

    def _draw(self, epoch: int, most: int | None) -> Generator[list]:
        """Yield lists of `(index, example)`, as long as a batch, drawn on a thread."""
        known = self.length is not None
        opened: list[Iterator] = []

        def draw(_: int, note: Note) -> list:
            chunk: list = []
            if not opened:
                note.doing, note.patience = f"opening the stream for epoch {epoch}", OPENING
                made: Any = self.stream(epoch) if callable(self.stream) else self.stream
                opened.append(enumerate(itertools.islice(iter(made), most)))
            examples = opened[0]
            while len(chunk) < self.batch_size:
                note.doing = f"drawing an example after {len(chunk)} of its batch"
                index, found = next(examples, (None, _END))
                if found is _END:
                    break
                note.doing = f"reading example {index} of the stream"
                chunk.append((index, as_example(found)))
                note.patience = 1
            return chunk

        chunks = read_ahead(
            itertools.count(),
            draw,
            prefetch=self.prefetch,
            timeout_s=self.timeout_s,
            where="StreamLoader",
        )
        drawn = 0
        with contextlib.closing(chunks):
            for chunk in chunks:
                drawn += len(chunk)
                if chunk:
                    yield chunk
                if len(chunk) < self.batch_size:
                    break
        if known and most is not None and drawn < most:
            raise RuntimeError(
                f"StreamLoader: expected {most} examples in a pass, its length, but the stream "
                f"ended after {drawn}; correct length="
            )

    def _batches(
        self, epoch: int, start: int, steps_per_call: int, drop_last: bool, chunks: Generator[list]
    ) -> Generator[Any]:
        def calls() -> Iterator[tuple[int, list[list]]]:
            held: list[list] = []
            first = start
            with contextlib.closing(chunks):
                for step, chunk in enumerate(chunks):
                    short = len(chunk) < self.batch_size
                    if step < start or (short and drop_last):
                        continue
                    if short and held:  # a call has batches of one size
                        yield first, held
                        first, held = step, []
                    held.append(chunk)
                    if short or len(held) == steps_per_call:
                        yield first, held
                        first, held = step + 1, []
            if held:
                yield first, held

        def read(task: tuple[int, list[list]], note: Note) -> Any:
            first, chunks = task
            size = len(chunks[0])
            if size < self.batch_size:  # nobody knew beforehand
                check_share("StreamLoader", self.batch_size, self.shard, self.sharding, size)
            here = share(size, self.shard, self.sharding).tolist()
            batches = []
            for step, chunk in enumerate(chunks, first):
                kept = [chunk[i] for i in here]
                shard = (step, here[0] if here else 0)
                places = [index for index, _ in kept]
                batches.append(self._prepare.gather(kept, places, _name, epoch, shard, note))
            stacked = steps_per_call > 1
            batch = stack_steps("StreamLoader", batches) if stacked else batches[0]
            check_leaves("StreamLoader", batch)
            return place(batch, self.sharding, size=size, stacked=stacked)

        return read_ahead(
            calls(),
            read,
            workers=self.workers,
            prefetch=self.prefetch,
            timeout_s=self.timeout_s,
            where="StreamLoader",
        )


def _name(index: int) -> str:
    return f"example {index} of the stream"
