"""Sources that are read example by example, or that come from other libraries."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from fx.data.collate import stack

Names = str | tuple[str, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Examples:
    """Anything with `len` and `[i]` as a source that is read example by example.

    A list of pairs will do, as will a map-style data set of PyTorch or a data source of TFDS.
    Within an example, tuples and dicts are structure; lists, numbers and tensors become arrays.
    A loader with `workers=` above 1 asks for examples on several threads at a time.

    Args:
        sequence: gives examples, each `(input, target)`, or a dict of which `inputs` and `targets`
            name the fields.
        inputs: a field's name; a tuple of names gives a tuple of arrays.
        targets: likewise.
        decode: is applied to what the sequence gives, and returns an example.
        classes: the names of the labels.

    Raises:
        TypeError: `sequence` has no length or cannot be indexed.
        ValueError: it is empty; when read, an example is not of this form.

    Example:
        >>> data = Examples([([5, 6], 0), ([7, 8], 1)])
        >>> data.take(np.array([1, 0]))[0].tolist()
        [[7, 8], [5, 6]]
    """

    sequence: Any
    _: dataclasses.KW_ONLY
    inputs: Names | None = None
    targets: Names | None = None
    decode: Callable[[Any], Any] | None = None
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", tuple(self.classes))
        if not hasattr(self.sequence, "__len__") or not hasattr(self.sequence, "__getitem__"):
            raise TypeError(
                f"Examples: expected something with len() and [i], got "
                f"{type(self.sequence).__name__}; what can only be iterated over goes into "
                "fx.data.StreamLoader"
            )
        if len(self.sequence) == 0:
            raise ValueError("Examples: expected at least one example, got none")

    def __len__(self) -> int:
        return len(self.sequence)

    def __repr__(self) -> str:
        return f"Examples({len(self)} of {type(self.sequence).__name__})"

    def example(self, row: int) -> tuple[Any, Any]:
        """Return `(input, target)` of one row, trees of NumPy arrays."""
        found = self.sequence[row]
        if self.decode is not None:
            found = self.decode(found)
        return as_example(found, self.inputs, self.targets)

    def take(self, rows: np.ndarray) -> tuple[Any, Any]:
        """Return `(inputs, targets)` of the rows, int of any shape, stacked."""
        rows = np.asarray(rows)
        batch = stack([self.example(row) for row in rows.ravel().tolist()])
        return jax.tree.map(lambda leaf: leaf.reshape(*rows.shape, *leaf.shape[1:]), batch)


def as_example(found: Any, inputs: Names | None = None, targets: Names | None = None) -> Any:
    """Make `(input, target)`, trees of NumPy arrays, of what a data set gives for one example.

    Args:
        found: a pair, or a dict.
        inputs: the names of a dict's fields.
        targets: likewise.

    Raises:
        ValueError: it is neither, or a field is missing.
    """
    if isinstance(found, dict):
        if inputs is None or targets is None:
            raise ValueError(
                f"expected an example (input, target), got a dict of {sorted(found)}; say which "
                'field is which: inputs="...", targets="..."'
            )
        found = (pick(found, inputs), pick(found, targets))
    if not isinstance(found, tuple | list) or len(found) != 2:
        size = f" of {len(found)}" if isinstance(found, tuple | list) else ""
        raise ValueError(
            f"expected an example (input, target), got {type(found).__name__}{size}; several "
            "inputs go in a tuple or dict of their own, ((a, b), target), and one without a target "
            "is (input, None)"
        )
    return to_numpy(found[0]), to_numpy(found[1])


def pick(fields: dict[str, Any], names: Names) -> Any:
    """Return a field, or for a tuple of names a tuple of fields."""
    for name in (names,) if isinstance(names, str) else names:
        if name not in fields:
            raise ValueError(f"expected a field {name!r}, got {sorted(fields)}")
    return fields[names] if isinstance(names, str) else tuple(fields[name] for name in names)


def to_numpy(tree: Any) -> Any:
    """Turn tensors, lists, numbers and images into NumPy arrays; tuples and dicts are structure."""
    return jax.tree.map(_leaf, tree, is_leaf=lambda x: isinstance(x, list))


def _leaf(leaf: Any) -> Any:
    if isinstance(leaf, np.ndarray):
        return leaf
    torch = sys.modules.get("torch")  # a tensor cannot be there without it
    if torch is not None and isinstance(leaf, torch.Tensor):
        leaf = leaf.detach().cpu()
        if leaf.dtype == torch.bfloat16:  # NumPy's own dtypes have none such
            return leaf.view(torch.int16).numpy().view(jax.numpy.bfloat16.dtype)
        return leaf.numpy()
    return np.asarray(leaf)


def from_torch(dataset: Any, *, inputs: Names | None = None, targets: Names | None = None) -> Any:
    """Read a PyTorch `Dataset`.

    torch is not imported; tensors become NumPy arrays without a copy where they are on the CPU.
    Random transforms within the data set draw from torch's own generator, which knows nothing of
    seed and epoch; what has to resume bit for bit belongs into the loader's `transform=`.

    Args:
        dataset: map-style (`len` and `[i]`) or iterable, whose examples are `(input, target)`, or
            dicts of which `inputs` and `targets` name the fields.
        inputs: a field's name, or a tuple of names.
        targets: likewise.

    Returns:
        `Examples`, a source for `Loader`, from a map-style data set; a `Stream` for `StreamLoader`
        from an iterable one.

    Raises:
        TypeError: it is neither.

    Example:
        >>> from_torch([(1.5, 0), (2.5, 1)])
        Examples(2 of list)
    """
    # torch's Dataset has __getitem__ in every case, IterableDataset too.
    iterable = any(kind.__name__ == "IterableDataset" for kind in type(dataset).__mro__)
    if not iterable and hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__"):
        classes = getattr(dataset, "classes", ())  # as torchvision's data sets have them
        return Examples(dataset, inputs=inputs, targets=targets, classes=tuple(classes))
    if not hasattr(dataset, "__iter__"):
        raise TypeError(
            f"from_torch: expected a data set with len() and [i], or an iterable one, got "
            f"{type(dataset).__name__}"
        )
    return Stream(lambda epoch: dataset, _length(dataset), inputs, targets)


@dataclasses.dataclass(frozen=True, eq=False)
class Stream:
    """Examples in the order that they come: a function of the epoch that gives an iterable.

    Attributes:
        make: `epoch -> iterable` of examples.
        length: how many there are in one pass; None where nobody knows.
        inputs: which fields are the inputs, where examples are dicts.
        targets: likewise.
    """

    make: Callable[[int], Any]
    length: int | None = None
    inputs: Names | None = None
    targets: Names | None = None

    def __call__(self, epoch: int) -> Any:
        """Iterate over one pass, as `(input, target)` of NumPy arrays."""
        return (as_example(found, self.inputs, self.targets) for found in self.make(epoch))


def _length(iterable: Any) -> int | None:
    try:
        return len(iterable)
    except (TypeError, NotImplementedError):
        return None
