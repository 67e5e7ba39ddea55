"""What the host does to examples before they are a batch."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any

import jax
import numpy as np

from fx.data.collate import stack
from fx.data.reading import Note, ReadError

# Beside the purposes of fx.data.splits: one seed gives unrelated numbers to each.
_EXAMPLE, _BATCH = 16, 17


@dataclasses.dataclass(frozen=True)
class Prepare:
    """Transform each example, collate, transform the batch; errors name what was at fault.

    Attributes:
        where: who prepares, for the errors.
        seed: with the epoch and the place of an example in it (or the step), gives the random
            numbers. The place, not the row: a row that is drawn twice is not transformed alike.
    """

    where: str
    seed: int
    transform: Callable[..., Any] | None = None
    collate: Callable[[list[Any]], Any] | None = None
    batch_transform: Callable[..., Any] | None = None

    @functools.cached_property
    def _random(self) -> frozenset[int]:
        """Which functions want random numbers; asking for a signature is slow."""
        functions = (self.transform, self.batch_transform)
        return frozenset(id(f) for f in functions if f is not None and _wants_rng(f))

    @property
    def by_example(self) -> bool:
        """Whether examples have to be looked at one by one."""
        return self.transform is not None or self.collate is not None

    @property
    def nothing(self) -> bool:
        """Whether there is nothing to do."""
        return not self.by_example and self.batch_transform is None

    def read(
        self,
        source: Any,
        rows: np.ndarray,
        places: np.ndarray,
        epoch: int,
        step: tuple[int, ...],
        note: Note,
    ) -> Any:
        """Read a batch of a source and prepare it.

        Args:
            source: what has `take`, and perhaps `example` and `describe`.
            rows: int64 `[B]`.
            places: int64 `[B]`, where in the epoch's order the rows stand.
            epoch: the number of the epoch.
            step: the number of the batch in its epoch, and of the shard where there are several.
            note: where to write down what is under way.
        """
        one = getattr(source, "example", None)
        if one is None and not self.by_example:
            return self.whole(self._take(source, rows, note), epoch, step, note)
        if one is None:
            batch = self._take(source, rows, note)
            pairs = ((row, _row(batch, i)) for i, row in enumerate(rows.tolist()))
        else:
            pairs = ((row, _read_one(one, source, row, note, self.where)) for row in rows.tolist())
        name = functools.partial(sample, source)
        return self.gather(pairs, places.tolist(), name, epoch, step, note)

    def gather(
        self,
        examples: Iterable[tuple[int, Any]],
        places: list[int],
        name: Callable[[int], str],
        epoch: int,
        step: tuple[int, ...],
        note: Note,
    ) -> Any:
        """Prepare examples, given with their indices, and make a batch of them."""
        done, indices = [], []
        for place, (index, example) in zip(places, examples, strict=True):
            if self.transform is not None:
                note.doing = f"in transform {_called(self.transform)} on {name(index)}"
                try:
                    example = self._call(self.transform, example, epoch, (place,), _EXAMPLE)
                except Exception as error:
                    raise ReadError(
                        f"{self.where}: transform {_called(self.transform)} failed on "
                        f"{name(index)} with {type(error).__name__}: {error}"
                    ) from error
            done.append(example)
            indices.append(index)
        collate = self.collate or stack
        note.doing = f"collating samples {_list(indices)} with {_called(collate)}"
        try:
            batch = collate(done)
        except Exception as error:
            raise ReadError(
                f"{self.where}: collating samples {_list(indices)} with {_called(collate)} failed: "
                f"{error}"
            ) from error
        return self.whole(batch, epoch, step, note)

    def whole(self, batch: Any, epoch: int, step: tuple[int, ...], note: Note) -> Any:
        """Apply `batch_transform`."""
        if self.batch_transform is None:
            return batch
        function = self.batch_transform
        note.doing = f"in batch_transform {_called(function)} on step {step[0]} of epoch {epoch}"
        try:
            return self._call(function, batch, epoch, step, _BATCH)
        except Exception as error:
            raise ReadError(
                f"{self.where}: batch_transform {_called(function)} failed on step {step[0]} of "
                f"epoch {epoch} with {type(error).__name__}: {error}"
            ) from error

    def _take(self, source: Any, rows: np.ndarray, note: Note) -> Any:
        note.doing = lambda: f"reading {_some(source, rows)}"
        try:
            return source.take(rows)
        except Exception as error:
            raise ReadError(
                f"{self.where}: reading a batch failed with {type(error).__name__}: {error}; check "
                "the data set's arrays, and its file if they are memory-mapped; it was "
                f"{note}"
            ) from error

    def _call(
        self, function: Callable[..., Any], value: Any, epoch: int, index: tuple, purpose: int
    ) -> Any:
        if id(function) not in self._random:
            return function(value)
        # Counter-based: as cheap for the millionth example as for the first, and the same on any
        # number of threads.
        key = np.array([self.seed % 2**64, epoch % 2**64], np.uint64)
        counter = np.array([0, index[0], index[1] if len(index) > 1 else 0, purpose], np.uint64)
        return function(value, rng=np.random.Generator(np.random.Philox(key=key, counter=counter)))


def stack_steps(where: str, batches: list[Any]) -> Any:
    """Stack the batches of one compiled call: leaves `[k, B, ...]`.

    Raises:
        ReadError: the batches differ in shape.
    """

    def stack_leaf(path: Any, *leaves: Any) -> np.ndarray:
        shapes = [np.shape(leaf) for leaf in leaves]
        if len(set(shapes)) > 1:
            raise ReadError(
                f"{where}: expected the batches of one call to have one shape at "
                f"{jax.tree_util.keystr(path)}, got {sorted(map(list, set(shapes)))}; pad to one "
                "length, as PadCollate(buckets=(length,)), or use steps_per_call=1"
            )
        return np.stack(leaves)

    return jax.tree.map_with_path(stack_leaf, *batches)


def sample(source: Any, row: int) -> str:
    """Name an example: by its index, and as its source calls it."""
    describe = getattr(source, "describe", None)
    return f"sample {row}" + (f" ({describe(row)})" if describe else "")


def _read_one(one: Callable[[int], Any], source: Any, row: int, note: Note, where: str) -> Any:
    note.doing = f"reading {sample(source, row)}"
    try:
        return one(row)
    except Exception as error:
        raise ReadError(
            f"{where}: reading {sample(source, row)} failed with {type(error).__name__}: {error}"
        ) from error


def _row(batch: Any, i: int) -> Any:
    return jax.tree.map(lambda leaf: leaf[i], batch)


def _wants_rng(function: Callable[..., Any]) -> bool:
    try:
        return "rng" in inspect.signature(function).parameters
    except ValueError:  # some built-in functions have no signature
        return False


def _called(function: Callable[..., Any]) -> str:
    return repr(getattr(function, "__name__", None) or type(function).__name__)


def _some(source: Any, rows: np.ndarray) -> str:
    return f"samples {_list(rows.ravel()[:8].tolist(), len(rows.ravel()))} of {source!r}"


def _list(indices: list[int], count: int | None = None) -> str:
    shown = ", ".join(map(str, indices[:8]))
    return shown + (", ..." if (count or len(indices)) > 8 else "")
