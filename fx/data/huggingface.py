"""Data sets of Hugging Face's `datasets`."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from fx.data.examples import Examples, Names, Stream, pick, to_numpy


def from_huggingface(dataset: Any, inputs: Names = "image", targets: Names = "label") -> Any:
    """Read a data set of Hugging Face's `datasets`, one split of it.

    Args:
        dataset: a `datasets.Dataset`, or an `IterableDataset`.
        inputs: a column's name; a tuple of names gives a tuple of arrays. Images come decoded,
            uint8 `[H, W, C]`; of several modes, make them one:
            `dataset.cast_column("image", datasets.Image(mode="RGB"))`.
        targets: likewise.

    Returns:
        A source for `Loader`, which reads a batch at a time from the Arrow file, with the class
        names of a `ClassLabel`; from an `IterableDataset` a `Stream` for `StreamLoader`, shuffled
        anew in each epoch where the data set is shuffled. A data set with a transform of its own
        (`with_transform`) is read example by example.

    Raises:
        TypeError: it is a `DatasetDict` or something else.
        ValueError: there is no such column.

    Example:
        >>> import datasets
        >>> rows = {"image": [[1.0], [2.0], [3.0]], "label": [0, 1, 0]}
        >>> data = from_huggingface(datasets.Dataset.from_dict(rows))
        >>> data.take(np.array([2, 0]))[1].tolist()
        [0, 0]
    """
    if isinstance(dataset, dict):
        raise TypeError(
            f"from_huggingface: expected one split, got a {type(dataset).__name__} of "
            f"{sorted(dataset)}; give one of them, as dataset[{sorted(dataset)[0]!r}]"
        )
    if hasattr(dataset, "with_format") and hasattr(dataset, "__len__"):
        known = dataset.column_names
        for name in [*_names(inputs), *_names(targets)]:
            if name not in known and dataset.format["type"] != "custom":
                raise ValueError(
                    f"from_huggingface: expected a column {name!r}, got {known}; say which with "
                    "inputs= and targets="
                )
        feature = dataset.features.get(targets) if isinstance(targets, str) else None
        classes = tuple(getattr(feature, "names", None) or ())
        if dataset.format["type"] == "custom":  # set_transform: a function of the user's
            return Examples(dataset, inputs=inputs, targets=targets, classes=classes)
        return Columns(dataset.with_format("numpy"), inputs, targets, classes)
    if not hasattr(dataset, "set_epoch") or not hasattr(dataset, "__iter__"):
        raise TypeError(
            f"from_huggingface: expected a datasets.Dataset or IterableDataset, got "
            f"{type(dataset).__name__}"
        )

    def one_pass(epoch: int) -> Any:
        dataset.set_epoch(epoch)  # the library's own way; it has no pure one
        return dataset

    return Stream(one_pass, None, inputs, targets)


@dataclasses.dataclass(frozen=True, eq=False)
class Columns:
    """Columns of a Hugging Face data set; `from_huggingface` makes it."""

    dataset: Any
    inputs: Names
    names: Names
    classes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.dataset)

    def __repr__(self) -> str:
        return f"Columns({len(self)} rows, inputs={self.inputs!r}, targets={self.names!r})"

    def take(self, rows: np.ndarray) -> tuple[Any, Any]:
        """Return `(inputs, targets)` of the rows, int of any shape.

        A column whose rows differ in shape is an array of objects, for a collate function.
        """
        rows = np.asarray(rows)
        listed = rows.ravel().tolist()
        found = self._narrow(self.dataset[listed], listed)
        batch = to_numpy((pick(found, self.inputs), pick(found, self.names)))
        return jax.tree.map(lambda leaf: leaf.reshape(*rows.shape, *leaf.shape[1:]), batch)

    @property
    def targets(self) -> Any:
        """The targets of all rows."""
        columns = self.dataset.select_columns(list(_names(self.names)))[:]
        return to_numpy(pick(self._narrow(columns, range(len(self))), self.names))

    def fingerprint(self) -> str:
        """Return 8 hexadecimal digits of the library's own fingerprint."""
        return f"{zlib.crc32(self.dataset._fingerprint.encode()):08x}"

    def _narrow(self, columns: dict[str, Any], rows: Sequence[int]) -> dict[str, Any]:
        """Give integers their declared dtype; the library widens them all, pixels too, to int64."""
        declared = {name: _dtype(self.dataset.features[name]) for name in columns}
        for name, column in columns.items():
            floats = getattr(column, "dtype", None) in (np.float32, np.float64)
            if floats and declared[name] is not None:  # of the batches with a None alone
                row = rows[int(np.isnan(column).reshape(len(rows), -1).any(1).argmax())]
                raise ValueError(
                    f"from_huggingface: expected integers in column {name!r}, got None in row "
                    f"{row}; leave such rows out: dataset.filter(lambda row: "
                    f"row[{name!r}] is not None)"
                )
        return {
            name: column.astype(declared[name])
            if declared[name] is not None and getattr(column, "dtype", None) == np.int64
            else column
            for name, column in columns.items()
        }


def _dtype(feature: Any) -> np.dtype | None:
    while hasattr(feature, "feature"):  # of a sequence
        feature = feature.feature
    name = getattr(feature, "dtype", "")
    return np.dtype(name) if isinstance(name, str) and name.startswith(("int", "uint")) else None


def _names(names: Names) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else names
