"""Batches as a pure function of seed and epoch."""

from __future__ import annotations

import dataclasses
import functools
import operator
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax
import numpy as np

from fx.data.dataset import Dataset
from fx.data.splits import permutation

Batch = tuple[Any, Any]


@dataclasses.dataclass(frozen=True, eq=False)
class Loader:
    """Batches of a data set, on the device, in an order that seed and epoch determine.

    The loader has no position: what an epoch yields depends on its arguments only, so a run that
    stopped at a step goes on there with `epoch(epoch, start=step)`.

    Rows are read on a background thread as one NumPy gather a call and handed to the device, so
    that training overlaps with reading. With `on_device=True` the whole data set is placed on the
    device at the first use instead, and a batch is a compiled gather there; the batches are the
    same. Either way the leaves keep their dtype (uint8 images stay uint8 until the transforms),
    but for the 64-bit ones: without x64 JAX has no such arrays, so integers arrive as 32-bit ones,
    after a check that they fit, and float64 is rounded to float32.

    Args:
        dataset: what to read.
        batch_size: examples in a batch.
        seed: with the epoch, determines the order.
        shuffle: False keeps the order of the data set.
        drop_last: leave out the last batch of an epoch where it is shorter. Kept, it makes the
            training step compile a second time, for its shape.
        on_device: hold the data set on the device.
        prefetch: calls that are read ahead of the one in use; memory grows with it.

    Raises:
        TypeError: `dataset` is not a `Dataset`, or a number is not an integer.
        ValueError: `batch_size` is below 1, `prefetch` below 0, or no batch would be left.

    Example:
        >>> data = Dataset(np.arange(10.0, dtype=np.float32), np.arange(10))
        >>> loader = Loader(data, 4, shuffle=False)
        >>> len(loader)
        3
        >>> for inputs, targets in loader.epoch(0, start=1):
        ...     print(inputs)
        [4. 5. 6. 7.]
        [8. 9.]
    """

    dataset: Dataset
    batch_size: int
    _: dataclasses.KW_ONLY
    seed: int = 0
    shuffle: bool = True
    drop_last: bool = False
    on_device: bool = False
    prefetch: int = 2

    def __post_init__(self) -> None:
        if not isinstance(self.dataset, Dataset):
            raise TypeError(
                f"Loader: expected a Dataset, got {type(self.dataset).__name__}; "
                "wrap arrays in fx.data.Dataset(inputs, targets)"
            )
        for name in ("batch_size", "seed", "prefetch"):
            object.__setattr__(self, name, as_integer("Loader", name, getattr(self, name)))
        if self.batch_size < 1:
            raise ValueError(f"Loader: expected batch_size of 1 or more, got {self.batch_size}")
        if self.prefetch < 0:
            raise ValueError(f"Loader: expected prefetch of 0 or more, got {self.prefetch}")
        if len(self) == 0:
            raise ValueError(
                f"Loader: the data set has {len(self.dataset)} examples, fewer than batch_size "
                f"{self.batch_size}, and drop_last=True leaves no batch; lower batch_size"
            )

    def __len__(self) -> int:
        """Return the number of steps in an epoch."""
        full, rest = divmod(len(self.dataset), self.batch_size)
        return full + (rest > 0 and not self.drop_last)

    def epoch(self, epoch: int, start: int = 0, steps_per_call: int = 1) -> Iterator[Batch]:
        """Yield the batches of one epoch.

        Args:
            epoch: which one, from 0; with the seed it determines the order.
            start: the first step to yield; what is yielded is the tail of the whole epoch.
                `len(loader)` yields nothing.
            steps_per_call: how many steps one compiled call runs.

        Returns:
            An iterator of `(inputs, targets)`, each leaf `[B, ...]`; with `steps_per_call` k > 1,
            `[k, B, ...]`, where the last call may have fewer steps, and a shorter last batch comes
            on its own as `[1, b, ...]`.

        Raises:
            TypeError: an argument is not an integer.
            ValueError: `epoch` is negative, `start` is not in 0 to `len(self)`, or
                `steps_per_call` is below 1; 64-bit integers do not fit into 32 bits, and x64 is
                not enabled.
            RuntimeError: reading failed on the background thread; its cause is the reason.
        """
        epoch = as_integer("Loader.epoch", "epoch", epoch)
        start = as_integer("Loader.epoch", "start", start)
        steps_per_call = as_integer("Loader.epoch", "steps_per_call", steps_per_call)
        if epoch < 0:
            raise ValueError(f"Loader.epoch: expected epoch of 0 or more, got {epoch}")
        if not 0 <= start <= len(self):
            raise ValueError(
                f"Loader.epoch: expected start from 0 to {len(self)}, the steps of an epoch, got "
                f"{start}; the data set or batch_size differs from the run this step is from"
            )
        if steps_per_call < 1:
            raise ValueError(
                f"Loader.epoch: expected steps_per_call of 1 or more, got {steps_per_call}"
            )
        return self._batches(self._rows(epoch, start, steps_per_call))

    def padded(self) -> Iterator[tuple[Batch, jax.Array]]:
        """Yield every example once, in the data set's order, in batches of one size.

        For evaluation: the last batch is filled up with copies of the first example, and the mask
        says which rows count. `shuffle` and `drop_last` have no effect.

        Returns:
            An iterator of `((inputs, targets), mask)`, each leaf `[batch_size, ...]`, mask bool
            `[batch_size]`, False on padding.

        Raises:
            ValueError: 64-bit integers do not fit into 32 bits, and x64 is not enabled.

        Example:
            >>> data = Dataset(np.arange(3.0, dtype=np.float32), np.arange(3))
            >>> for (inputs, targets), mask in Loader(data, 2).padded():
            ...     print(inputs, mask)
            [0. 1.] [ True  True]
            [2. 0.] [ True False]
        """
        n, size = len(self.dataset), self.batch_size
        rows = np.zeros(-(-n // size) * size, np.int64)
        rows[:n] = np.arange(n)
        rows = rows.reshape(-1, size)  # [steps, B]
        masks = (np.arange(rows.size) < n).reshape(-1, size)
        for batch, mask in zip(self._batches(rows), masks):
            yield batch, jax.device_put(mask)

    def _rows(self, epoch: int, start: int, steps_per_call: int) -> Iterator[np.ndarray]:
        n, size = len(self.dataset), self.batch_size
        order = permutation(n, self.seed, epoch) if self.shuffle else np.arange(n)
        full = n // size
        for step in range(start, full, steps_per_call):
            rows = order[step * size : min(step + steps_per_call, full) * size]
            yield rows if steps_per_call == 1 else rows.reshape(-1, size)  # [k, B]
        if full < len(self) and start < len(self):
            rest = order[full * size :]
            yield rest if steps_per_call == 1 else rest[None]  # [1, b]

    def _batches(self, plan: Iterable[np.ndarray]) -> Iterator[Batch]:
        config: Any = jax.config
        if not config.jax_enable_x64 and self._too_wide:
            raise ValueError(
                f"Loader: {self._too_wide}, and without x64 JAX would wrap them around; renumber "
                'them, or jax.config.update("jax_enable_x64", True) before any array is made'
            )
        if self.on_device:
            return (_gather(self._placed, rows.astype(np.int32)) for rows in plan)
        return self._read_ahead(plan)

    def _read_ahead(self, plan: Iterable[np.ndarray]) -> Iterator[Batch]:
        # jax keeps these two settings for each thread, and the reader is another thread.
        config: Any = jax.config
        device, x64 = config.jax_default_device, config.jax_enable_x64

        def read(rows: np.ndarray) -> Batch:
            with jax.default_device(device), jax.enable_x64(x64):
                return jax.device_put(self.dataset.take(rows))

        # Leaving the block, also by close() when the consumer stops early, ends the thread.
        with ThreadPoolExecutor(1, thread_name_prefix="fx-loader") as pool:
            pending: deque[Future[Batch]] = deque()
            try:
                for rows in plan:
                    pending.append(pool.submit(read, rows))
                    if len(pending) > self.prefetch:
                        yield _result(pending.popleft())
                while pending:
                    yield _result(pending.popleft())
            finally:
                for future in pending:
                    future.cancel()

    @functools.cached_property
    def _too_wide(self) -> str:
        """The first array of 64-bit integers that 32 bits cannot hold, in words; else nothing."""
        for name, leaf in self.dataset.leaves().items():
            if leaf.dtype.kind in "iu" and leaf.dtype.itemsize == 8 and leaf.size:
                least, most = int(leaf.min()), int(leaf.max())
                narrow = np.iinfo(f"{leaf.dtype.kind}4")
                if least < narrow.min or most > narrow.max:
                    return (
                        f"expected {name} ({leaf.dtype}) to fit into {narrow.dtype}, got values "
                        f"from {least} to {most}"
                    )
        return ""

    @functools.cached_property
    def _placed(self) -> Batch:
        return jax.device_put((self.dataset.inputs, self.dataset.targets))


def as_integer(where: str, name: str, value: Any) -> int:
    """Return an integer of any kind as an int, or raise a TypeError that names the argument."""
    try:
        return operator.index(value)
    except TypeError as error:
        raise TypeError(f"{where}: expected {name} to be an integer, got {value!r}") from error


def _result(future: Future[Batch]) -> Batch:
    try:
        return future.result()
    except Exception as error:
        raise RuntimeError(
            f"Loader: reading a batch failed with {type(error).__name__}: {error}; "
            "check the data set's arrays, and its file if they are memory-mapped"
        ) from error


@jax.jit
def _gather(arrays: Batch, rows: jax.Array) -> Batch:
    return jax.tree.map(lambda leaf: leaf.at[rows].get(mode="promise_in_bounds"), arrays)
