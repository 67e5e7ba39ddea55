"""Batches as a pure function of seed and epoch."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec, Sharding

from fx.data.checks import as_integer, check_epoch, check_functions, check_numbers, refuse_iteration
from fx.data.dataset import Dataset
from fx.data.placing import check_leaves, check_share, fit, of_rows, place, share, too_wide
from fx.data.prepare import Prepare, stack_steps
from fx.data.reading import TIMEOUT_S, Note, read_ahead
from fx.data.splits import permutation
from fx.data.views import Source

Batch = tuple[Any, Any]


class _Task(NamedTuple):
    """A call of the step.

    Attributes:
        epoch: its number.
        step: the number of the first batch.
        rows: int64 `[B]` or `[k, B]`, those that are read here.
        places: where they stand in the epoch's order.
        size: B of the global batch.
    """

    epoch: int
    step: int
    rows: np.ndarray
    places: np.ndarray
    size: int


@dataclasses.dataclass(frozen=True, eq=False)
class Loader:
    """Batches of a data set, on the device, in an order that seed and epoch determine.

    The loader has no position: what an epoch yields depends on its arguments only, so a run that
    stopped at a step goes on there with `epoch(epoch, start=step)`.

    Batches are read and prepared on background threads and handed to the device, so that training
    overlaps with reading. With `on_device=True` the whole data set is placed on the device at the
    first use instead, and a batch is a compiled gather there; the batches are the same. Either way
    the leaves keep their dtype (uint8 images stay uint8 until the transforms), but for the 64-bit
    ones: without x64 JAX has no such arrays, so integers arrive as 32-bit ones, after a check that
    they fit, and float64 is rounded to float32.

    A `transform` or `batch_transform` that has an argument called `rng` gets a NumPy generator
    there. It is derived from seed, epoch and the example's place in the epoch (or the batch's
    number and shard), so the numbers are the same for any number of workers and after a resume.

    Args:
        dataset: what to read: a `Dataset` or another source, something with `len` and
            `take(rows) -> (inputs, targets)`.
        batch_size: examples in a batch; in the global one, where it is sharded.
        seed: with the epoch, determines the order.
        shuffle: False keeps the order of the data set.
        drop_last: leave out the last batch of an epoch where it is shorter. Kept, it makes the
            training step compile a second time, for its shape.
        on_device: hold the data set on the device.
        prefetch: calls that are read ahead of the one in use; memory grows with it.
        sampler: `(seed, epoch) -> rows` with a `len`, in place of shuffling; see
            `WeightedSampler`.
        transform: `example -> example`, on the host, for each example `(input, target)`.
        collate: `[example, ...] -> batch`; None stacks them. See `PadCollate`.
        batch_transform: `batch -> batch`, on the host, for each batch `(inputs, targets)`.
        workers: threads, which prepare different batches at a time. The order stays.
        timeout_s: how long a worker may go without finishing an example, or whatever else it is at
            (reading or transforming a batch as a whole, say), before it counts as stuck; None
            waits for ever. A batch may take longer.
        sharding: of the global batch. Batches come as global arrays of that sharding, and each
            process reads only the rows that its devices hold.
        shard: `(index, count)`: yield the index-th of count parts of each batch, as a local array.

    Raises:
        TypeError: `dataset` is no source, a number is not an integer, or a function none.
        ValueError: `batch_size` or `workers` is below 1, `prefetch` below 0, `timeout_s` is not
            above 0; no batch would be left, or one does not divide over the shards; `on_device`
            with what works on the host; a sampler for another number of examples.

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

    dataset: Source
    batch_size: int
    _: dataclasses.KW_ONLY
    seed: int = 0
    shuffle: bool = True
    drop_last: bool = False
    on_device: bool = False
    prefetch: int = 2
    sampler: Callable[..., np.ndarray] | None = None
    transform: Callable[..., Any] | None = None
    collate: Callable[[list[Any]], Any] | None = None
    batch_transform: Callable[..., Any] | None = None
    workers: int = 1
    timeout_s: float | None = TIMEOUT_S
    sharding: Sharding | None = None
    shard: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        array = hasattr(self.dataset, "__array__")  # whose take() means another thing
        if not hasattr(self.dataset, "__len__") or not callable(
            None if array else getattr(self.dataset, "take", None)
        ):
            raise TypeError(
                f"Loader: expected a Dataset or another source, with len() and take(rows), got "
                f"{type(self.dataset).__name__}; wrap arrays in fx.data.Dataset(inputs, targets), "
                "what is indexed by example in fx.data.Examples, PyTorch's in fx.data.from_torch, "
                "what is iterated over in fx.data.StreamLoader"
            )
        for name in ("batch_size", "seed", "prefetch", "workers"):
            object.__setattr__(self, name, as_integer("Loader", name, getattr(self, name)))
        check_numbers("Loader", self.batch_size, self.workers, self.prefetch, self.timeout_s)
        check_functions("Loader", self.transform, self.collate, self.batch_transform)
        self._check_sampler()
        if len(self) == 0:
            raise ValueError(
                f"Loader: the data set has {self._count} examples, fewer than batch_size "
                f"{self.batch_size}, and drop_last=True leaves no batch; lower batch_size"
            )
        rest = 0 if self.drop_last else self._count % self.batch_size
        full = self.batch_size if self._count >= self.batch_size else 0
        check_share("Loader", full, self.shard, self.sharding, rest)
        if self.on_device and not self._prepare.nothing:
            raise ValueError(
                "Loader: on_device=True takes batches from the device, where transform=, collate= "
                "and batch_transform= do not run; use make_step(..., transform=), or "
                "on_device=False"
            )

    def __len__(self) -> int:
        """Return the number of steps in an epoch."""
        full, rest = divmod(self._count, self.batch_size)
        return full + (rest > 0 and not self.drop_last)

    @property
    def last_size(self) -> int:
        """Examples of an epoch's last batch."""
        rest = 0 if self.drop_last else self._count % self.batch_size
        return rest or self.batch_size

    __iter__ = refuse_iteration

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
            TypeError: an argument is not an integer; a leaf is not an array of numbers.
            ValueError: `epoch` is negative, `start` is not in 0 to `len(self)`, or
                `steps_per_call` is below 1; 64-bit integers do not fit into 32 bits, and x64 is
                not enabled; the sampler gives rows that the data set has not.
            RuntimeError: reading, a transform or collating failed; the text names the example, and
                its cause is the reason.
            TimeoutError: a worker is stuck; the text says at which example, and where.
        """
        numbers = check_epoch("Loader.epoch", epoch, start, steps_per_call, len(self))
        return self._batches(self._rows(*numbers))

    def padded(self) -> Iterator[tuple[Batch, jax.Array]]:
        """Yield every example once, in the data set's order, in batches of one size.

        For evaluation: the last batch is filled up with copies of the first example, and the mask
        says which rows count. `shuffle` and `drop_last` have no effect. Transforms run as in
        epoch 0.

        Returns:
            An iterator of `((inputs, targets), mask)`, each leaf `[batch_size, ...]`, mask bool
            `[batch_size]`, False on padding.

        Raises:
            ValueError: The loader has a sampler, whose rows are not every example once; 64-bit
                integers do not fit into 32 bits, and x64 is not enabled.

        Example:
            >>> data = Dataset(np.arange(3.0, dtype=np.float32), np.arange(3))
            >>> for (inputs, targets), mask in Loader(data, 2).padded():
            ...     print(inputs, mask)
            [0. 1.] [ True  True]
            [2. 0.] [ True False]
        """
        if self.sampler is not None:
            raise ValueError(
                f"Loader.padded: evaluation takes every example of the data set once, and sampler= "
                f"chooses {self._count} rows of {len(self.dataset)}; give it a loader without one, "
                "Loader(fx.data.subset(dataset, rows), batch_size) for some rows"
            )
        n, size = len(self.dataset), self.batch_size
        check_share("Loader.padded", size, self.shard, self.sharding)
        rows = np.zeros(-(-n // size) * size, np.int64)
        rows[:n] = np.arange(n)
        rows = rows.reshape(-1, size)  # [steps, B]
        masks = (np.arange(rows.size) < n).reshape(-1, size)
        masks = masks[:, share(size, self.shard, self.sharding)]
        here = self._here(size)
        plan = (
            _Task(0, step, part[here], step * size + here, size) for step, part in enumerate(rows)
        )
        for batch, mask in zip(self._batches(plan), masks):
            yield batch, place(mask, of_rows(self.sharding), size=size)

    @functools.cached_property
    def _count(self) -> int:
        """Examples in an epoch."""
        return len(self.dataset if self.sampler is None else self.sampler)  # type: ignore[arg-type]

    @functools.cached_property
    def _prepare(self) -> Prepare:
        return Prepare("Loader", self.seed, self.transform, self.collate, self.batch_transform)

    def _check_sampler(self) -> None:
        if self.sampler is None:
            return
        if not callable(self.sampler) or not hasattr(self.sampler, "__len__"):
            raise TypeError(
                f"Loader: expected sampler to be called with (seed, epoch) and to have a len(), "
                f"got {type(self.sampler).__name__}; see fx.data.WeightedSampler"
            )
        examples = getattr(self.sampler, "examples", len(self.dataset))
        if examples != len(self.dataset):
            raise ValueError(
                f"Loader: expected a sampler for {len(self.dataset)} examples, got one with "
                f"{examples} weights"
            )

    def _order(self, epoch: int) -> np.ndarray:
        n = len(self.dataset)
        if self.sampler is None:
            return permutation(n, self.seed, epoch) if self.shuffle else np.arange(n)
        rows = np.asarray(self.sampler(self.seed, epoch))
        if rows.shape != (self._count,) or rows.dtype.kind not in "iu":
            raise ValueError(
                f"Loader: expected the sampler to give {self._count} integers, got {rows.dtype}"
                f"{list(rows.shape)}"
            )
        if rows.min() < 0 or rows.max() >= n:
            raise ValueError(
                f"Loader: expected the sampler to give rows from 0 to {n - 1}, got {rows.min()} to "
                f"{rows.max()}"
            )
        return rows

    def _here(self, size: int) -> np.ndarray:
        """Places in a batch of this size that this process reads."""
        if self.on_device and self.shard is None:  # each device takes its own
            return np.arange(size)
        return share(size, self.shard, self.sharding)

    def _rows(self, epoch: int, start: int, steps_per_call: int) -> Iterator[_Task]:
        n, size = self._count, self.batch_size
        order, full = self._order(epoch), n // size
        here = self._here(size)
        for step in range(start, full, steps_per_call):
            stop = min(step + steps_per_call, full)
            steps = step if steps_per_call == 1 else np.arange(step, stop)[:, None]
            places = steps * size + here  # [B] or [k, B]
            yield _Task(epoch, step, order[places], places, size)
        if full < len(self) and start < len(self):
            places = full * size + self._here(n - full * size)
            places = places if steps_per_call == 1 else places[None]  # [1, b]
            yield _Task(epoch, full, order[places], places, n - full * size)

    def _batches(self, plan: Iterable[_Task]) -> Iterator[Batch]:
        config: Any = jax.config
        if not config.jax_enable_x64 and self._too_wide:
            raise ValueError(
                f"Loader: {self._too_wide}, and without x64 JAX would wrap them around; renumber "
                'them, or jax.config.update("jax_enable_x64", True) before any array is made'
            )
        if isinstance(self.dataset, Dataset) and self._prepare.nothing:
            pair = (self.dataset.inputs, self.dataset.targets)
            check_leaves("Loader", jax.tree.map(lambda leaf: leaf[:1], pair))  # their kinds
        if self.on_device:
            return (self._gather(task) for task in plan)
        return read_ahead(
            plan,
            self._read,
            workers=self.workers,
            prefetch=self.prefetch,
            timeout_s=self.timeout_s,
        )

    def _read(self, task: _Task, note: Note) -> Batch:
        stacked = task.rows.ndim == 2
        one_gather = self._prepare.nothing and not hasattr(self.dataset, "example")
        if one_gather or not stacked:
            batch = self._read_one(task.rows, task.places, task.epoch, task.step, note)
        else:
            calls = enumerate(zip(task.rows, task.places, strict=True), task.step)
            steps = [self._read_one(*call, task.epoch, step, note) for step, call in calls]
            batch = stack_steps("Loader", steps)
        fresh = isinstance(self.dataset, Dataset) and self._prepare.nothing
        if not fresh:
            note.doing = f"checking step {task.step} of epoch {task.epoch}"
            check_leaves("Loader", batch)
        note.doing = f"moving step {task.step} of epoch {task.epoch} to the device"
        return place(batch, self.sharding, size=task.size, stacked=stacked, fresh=fresh)

    def _read_one(
        self, rows: np.ndarray, places: np.ndarray, epoch: int, step: int, note: Note
    ) -> Batch:
        index = 0 if self.shard is None else self.shard[0]
        if self.sharding is not None and not self.sharding.is_fully_addressable:
            index = jax.process_index()
        return self._prepare.read(self.dataset, rows, places, epoch, (step, index), note)

    @functools.cached_property
    def _too_wide(self) -> str:
        """The first array of 64-bit integers that 32 bits cannot hold, in words; else nothing."""
        if not isinstance(self.dataset, Dataset) or not self._prepare.nothing:
            return ""  # seen when it is read
        found = (too_wide(name, leaf) for name, leaf in self.dataset.leaves().items())
        return next(filter(None, found), "")

    @functools.cached_property
    def _placed(self) -> Batch:
        if isinstance(self.dataset, Dataset):
            arrays = (self.dataset.inputs, self.dataset.targets)
        else:
            arrays = self.dataset.take(np.arange(len(self.dataset)))
            check_leaves("Loader", arrays)
        whole = self.sharding
        if isinstance(whole, NamedSharding):
            whole = NamedSharding(whole.mesh, PartitionSpec())
        devices = jax.device_put(np.zeros(1)).devices() if whole is None else whole.device_set
        # Only a CPU's arrays can share memory with the host's; elsewhere a copy would be wasted.
        own = not any(device.platform == "cpu" for device in devices)
        return jax.block_until_ready(place(arrays, whole, size=len(self.dataset), fresh=own))

    def _gather(self, task: _Task) -> Batch:
        rows = task.rows.astype(np.int32)
        if not isinstance(self.sharding, NamedSharding):
            return _gather(self._placed, rows)
        fit(self.sharding, self._placed, stacked=False)  # its check
        stacked = fit(self.sharding, (), rows.ndim == 2, task.size)
        return _sharded_gather(stacked)(self._placed, rows)


def _take_rows(arrays: Batch, rows: jax.Array) -> Batch:
    return jax.tree.map(lambda leaf: leaf.at[rows].get(mode="promise_in_bounds"), arrays)


_gather = jax.jit(_take_rows)


@functools.lru_cache(maxsize=8)  # or each batch would look for its compilation anew
def _sharded_gather(sharding: Sharding) -> Callable[[Batch, np.ndarray], Batch]:
    return jax.jit(_take_rows, out_shardings=sharding)
