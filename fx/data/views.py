"""Parts and unions of sources, which read their rows when these are wanted."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any, Protocol

import jax
import numpy as np
from numpy.typing import ArrayLike

from fx.data.dataset import Dataset


class Source(Protocol):
    """What a `Loader` reads: a number of examples, and any of them by their indices.

    Optional are `example(row)`, where examples are read one by one (a `take` that stacks them is
    then for others), `describe(row)`, a name for errors, such as the file, `fingerprint()`, and
    the attributes `classes` and `targets`.
    """

    def __len__(self) -> int:
        """Return the number of examples."""
        ...

    def take(self, rows: np.ndarray, /) -> tuple[Any, Any]:
        """Return `(inputs, targets)`, trees of NumPy arrays `[*rows.shape, ...]`."""
        ...


def subset(source: Source, rows: ArrayLike) -> Source:
    """Return the part of a source with the rows `rows` (int `[M]`), in that order.

    Args:
        source: any source.
        rows: from 0 to `len(source) - 1`; a row may stand more than once.

    Returns:
        A `Dataset`, copied, where `source` is a `Dataset` in memory; else a view, which reads from
        the source what is wanted, so that nothing large is read or copied here.

    Raises:
        ValueError: there are no rows, or one is out of range.
        TypeError: rows are not integers.

    Example:
        >>> subset(Dataset(np.arange(4.0), np.arange(4)), [2, 0]).targets
        array([2, 0])

    Source:
        `torch.utils.data.Subset`.
    """
    rows = np.asarray(rows)
    if rows.dtype.kind not in "iu" and rows.size:
        raise TypeError(
            f"subset: expected rows to be integers, got {rows.dtype}; those of a mask are "
            "np.flatnonzero(mask)"
        )
    if rows.ndim != 1 or not rows.size:
        raise ValueError(f"subset: expected rows [M] with at least one, got {list(rows.shape)}")
    if rows.min() < 0 or rows.max() >= len(source):
        raise ValueError(
            f"subset: expected rows from 0 to {len(source) - 1}, got {rows.min()} to {rows.max()}"
        )
    rows = rows.astype(np.int64)
    mapped = isinstance(source, Dataset) and any(
        isinstance(leaf, np.memmap) for leaf in source.leaves().values()
    )
    return source.subset(rows) if isinstance(source, Dataset) and not mapped else View(source, rows)


def concat(*sources: Source) -> Source:
    """Return sources one after the other as one; nothing is copied.

    Args:
        sources: of one structure, with the same shapes, dtypes and classes.

    Returns:
        A source of all their examples.

    Raises:
        ValueError: there is none, or their classes differ; when read, their shapes or dtypes do.

    Example:
        >>> one = Dataset(np.zeros(2), np.array([0, 1]))
        >>> both = concat(one, Dataset(np.ones(3), np.array([2, 3, 4])))
        >>> len(both), both.take(np.array([4, 0]))
        (5, (array([1., 0.]), array([4, 0])))

    Source:
        `torch.utils.data.ConcatDataset`.
    """
    if not sources:
        raise ValueError("concat: expected at least one source, got none")
    known = [tuple(getattr(source, "classes", ())) for source in sources]
    for i, classes in enumerate(known):
        if classes != known[0]:
            raise ValueError(
                f"concat: expected sources of the same classes, got {known[0]} in source 0 and "
                f"{classes} in source {i}, so one label would mean two things"
            )
    first, *others = sources
    return Concat(sources) if others else first


class View:
    """Some rows of a source; `subset` makes it."""

    def __init__(self, source: Source, rows: np.ndarray) -> None:
        self.source, self.rows = source, rows
        self.classes = tuple(getattr(source, "classes", ()))
        if hasattr(source, "example"):
            self.example = lambda row: source.example(int(rows[row]))  # type: ignore[attr-defined]
        if hasattr(source, "describe"):
            self.describe = lambda row: source.describe(int(rows[row]))  # type: ignore[attr-defined]

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return f"View({len(self)} of {self.source!r})"

    def take(self, rows: np.ndarray) -> tuple[Any, Any]:
        """Return `(inputs, targets)` of the rows, int of any shape."""
        return self.source.take(self.rows[rows])

    @property
    def targets(self) -> Any:
        """The source's targets at these rows, where it has them at hand."""
        return jax.tree.map(lambda leaf: leaf[self.rows], self.source.targets)  # type: ignore[attr-defined]

    def fingerprint(self) -> str:
        """Return 8 hexadecimal digits of the rows and of the source, as far as it has some."""
        return f"{zlib.crc32(self.rows.tobytes(), _print(self.source)):08x}"


class Concat:
    """Sources one after the other; `concat` makes it."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self.sources = tuple(sources)
        self.stops = np.cumsum([len(source) for source in sources])
        self.classes = tuple(getattr(sources[0], "classes", ()))
        if any(hasattr(source, "example") for source in sources):
            self.example = self._example
        if any(hasattr(source, "describe") for source in sources):
            self.describe = self._describe

    def __len__(self) -> int:
        return int(self.stops[-1])

    def __repr__(self) -> str:
        return f"Concat({', '.join(map(repr, self.sources))})"

    def take(self, rows: np.ndarray) -> tuple[Any, Any]:
        """Return `(inputs, targets)` of the rows, int of any shape."""
        rows = np.asarray(rows)
        flat = rows.ravel()
        which = np.searchsorted(self.stops, flat, "right")  # [M]
        order = np.argsort(which, kind="stable")
        parts = [self.sources[i].take(flat[which == i] - self._start(i)) for i in np.unique(which)]
        if len(kinds := {jax.tree.structure(part) for part in parts}) > 1:
            shown = " and ".join(str(kind) for kind in kinds)
            raise ValueError(
                f"concat: expected sources whose examples have one structure, got {shown}; one "
                "without targets does not go with one that has them"
            )
        back = np.argsort(order)  # [M]

        def join(path: Any, *leaves: np.ndarray) -> np.ndarray:
            kinds = {(leaf.dtype, leaf.shape[1:]) for leaf in leaves}
            if len(kinds) > 1:
                shown = " and ".join(f"{dtype}{list(shape)}" for dtype, shape in kinds)
                raise ValueError(
                    f"concat: expected sources of one shape and dtype, got examples with {shown} "
                    f"at {jax.tree_util.keystr(path)}"
                )
            return np.concatenate(leaves)[back].reshape(*rows.shape, *leaves[0].shape[1:])

        return jax.tree.map_with_path(join, *parts)

    @property
    def targets(self) -> Any:
        """The sources' targets, where all have them at hand."""
        parts = [source.targets for source in self.sources]  # type: ignore[attr-defined]
        return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)

    def fingerprint(self) -> str:
        """Return 8 hexadecimal digits of the sources, as far as they have some."""
        crc = 0
        for source in self.sources:
            crc = zlib.crc32(f"{_print(source)}".encode(), crc)
        return f"{crc:08x}"

    def _start(self, i: int) -> int:
        return int(self.stops[i - 1]) if i else 0

    def _at(self, row: int) -> tuple[Any, int]:
        i = int(np.searchsorted(self.stops, row, "right"))
        return self.sources[i], row - self._start(i)

    def _example(self, row: int) -> Any:
        source, row = self._at(row)
        if hasattr(source, "example"):
            return source.example(row)
        return jax.tree.map(lambda leaf: leaf[0], source.take(np.array([row])))

    def _describe(self, row: int) -> str:
        source, row = self._at(row)
        return source.describe(row) if hasattr(source, "describe") else f"row {row} of {source!r}"


def _print(source: Any) -> int:
    known = source.fingerprint() if hasattr(source, "fingerprint") else str(len(source))
    return zlib.crc32(known.encode())
