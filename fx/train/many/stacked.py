"""The batches of several runs as one."""

import contextlib
import dataclasses
import functools
import zlib
from collections.abc import Generator, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fx.data.loader import Loader
from fx.data.splits import permutation
from fx.train.many.together import Watch, stack
from fx.train.record import describe_data


@dataclasses.dataclass(eq=False)
class ManyBatches:
    """The batches of several runs as one, with what the step has to know of each run.

    Args:
        loaders: One for each run; or one, whose batches all runs share.
        count: How many runs.
        watch: Which runs go on, and which have just improved.
    """

    loaders: Sequence[Any]
    count: int
    watch: Watch

    def __len__(self) -> int:
        return len(self.loaders[0])

    @property
    def shared(self) -> bool:
        """Whether all runs see the same batches."""
        return len(self.loaders) == 1

    @property
    def dataset(self) -> Any:
        """What tells these batches from others, for the check at a resume."""
        return self

    def fingerprint(self) -> str:
        """8 hexadecimal digits of what determines all loaders' batches."""
        text = repr((self.count, [describe_data(loader) for loader in self.loaders]))
        return f"{zlib.crc32(text.encode()):08x}"

    def epoch(self, epoch: int, start: int = 0, **options: int) -> Iterator[Any]:
        """Yield `(counted, batch, active, improved)`; leaves of batch `[S, B, ...]` or shared."""
        active, none = self.watch.active, np.zeros(self.count, bool)
        improved = self.watch.improved.copy() if start == 0 else none
        if start:
            options["start"] = start
        with contextlib.closing(self._batches(epoch, options)) as batches:
            for batch in batches:
                rows = self._rows(batch, options.get("steps_per_call", 1))
                yield rows, batch, active, improved
                improved = none

    def _batches(self, epoch: int, options: dict[str, int]) -> Generator[Any, None, None]:
        with contextlib.ExitStack() as exits:
            merged = self._merged
            epochs = [
                iter(loader.epoch(epoch, **options))
                for loader in (self.loaders if merged is None else [merged])
            ]
            for each in epochs:
                exits.callback(getattr(each, "close", lambda: None))
            for batches in zip(*epochs):
                if self.shared:
                    yield batches[0]
                elif merged is not None:
                    yield _apart(batches[0], self.count, "steps_per_call" in options)
                else:
                    yield self._stacked(batches)

    @functools.cached_property
    def _merged(self) -> Loader | None:
        """One loader of all runs' rows, where they are of one data set: one gather for all."""
        return None if self.shared else _merge(self.loaders)

    def _stacked(self, batches: tuple[Any, ...]) -> Any:
        shapes = [[np.shape(leaf) for leaf in jax.tree.leaves(batch)] for batch in batches]
        for run, found in enumerate(shapes):
            if found != shapes[0]:
                raise ValueError(
                    f"fit_many: expected every run's batches to have the same shapes, got "
                    f"{_lists(shapes[0])} of run 0 and {_lists(found)} of run {run}; make the data "
                    'sets equally long (folds too), or use drop_last=True or how="loop"'
                )
        return stack(*batches)

    def _rows(self, batch: Any, steps_per_call: int) -> np.ndarray:
        # The loop reads off a batch's first leaf how many steps and examples it holds.
        shape = np.shape(jax.tree.leaves(batch)[0])[0 if self.shared else 1 :]
        if steps_per_call > 1:
            return np.empty((shape[0], shape[1] * self.count), bool)
        return np.empty(shape[0] * self.count, bool)


def _lists(shapes: Sequence[tuple[int, ...]]) -> list[list[int]]:
    return [list(shape) for shape in shapes]


@dataclasses.dataclass(frozen=True)
class _Orders:
    """The rows of several loaders over one data set: a step's rows of all, then the next step's."""

    loaders: Sequence[Loader]

    def __len__(self) -> int:
        return sum(_count(loader) for loader in self.loaders)

    def __call__(self, seed: int, epoch: int) -> np.ndarray:
        del seed  # each loader has its own
        orders = np.stack([_order(loader, epoch) for loader in self.loaders])  # [S, N]
        size = self.loaders[0].batch_size
        full = orders.shape[1] // size * size
        steps = orders[:, :full].reshape(len(orders), -1, size)  # [S, steps, B]
        return np.concatenate([steps.swapaxes(0, 1).reshape(-1), orders[:, full:].reshape(-1)])


def _order(loader: Loader, epoch: int) -> np.ndarray:
    if loader.sampler is not None:
        return np.asarray(loader.sampler(loader.seed, epoch))
    n = len(loader.dataset)
    return permutation(n, loader.seed, epoch) if loader.shuffle else np.arange(n)


def _count(loader: Loader) -> int:
    return len(loader.dataset if loader.sampler is None else loader.sampler)  # type: ignore[arg-type]


def _merge(loaders: Sequence[Any]) -> Loader | None:
    """Make one loader of several that differ in their orders only and change no example."""
    first = loaders[0]
    if any(type(loader) is not Loader for loader in loaders):
        return None
    names = {field.name for field in dataclasses.fields(Loader)} - {"seed", "shuffle", "sampler"}
    for loader in loaders[1:]:
        if any(getattr(loader, name) != getattr(first, name) for name in names):
            return None
    changing = ("transform", "collate", "batch_transform", "sharding", "shard")
    if any(getattr(first, name) is not None for name in changing):
        return None
    if len({_count(loader) for loader in loaders}) > 1:
        return None
    size = first.batch_size * len(loaders)
    return dataclasses.replace(first, batch_size=size, sampler=_Orders(loaders))


@functools.partial(jax.jit, static_argnums=(1, 2))
def _apart(batch: Any, count: int, scanned: bool) -> Any:
    """Give a merged batch, [S * B, ...] or [k, S * B, ...], the runs as its first axis."""

    def split(leaf: jax.Array) -> jax.Array:
        if not scanned:
            return leaf.reshape(count, -1, *leaf.shape[1:])  # [S, B, ...]
        parts = leaf.reshape(leaf.shape[0], count, -1, *leaf.shape[2:])  # [k, S, B, ...]
        return jnp.swapaxes(parts, 0, 1)

    return jax.tree.map(split, batch)
