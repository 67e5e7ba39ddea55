"""A list of batches as a loader: one graph, the points of an equation, a few batches for a test."""

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from fx.data.batch import split_batch
from fx.data.checks import check_epoch
from fx.data.placing import check_leaves
from fx.data.prepare import stack_steps


class Listed:
    """The batches of a list, in its order, in every epoch.

    Args:
        batches: At least one.

    Example:
        >>> list(Listed(["first", "second"]).epoch(3, start=1))
        ['second']
    """

    def __init__(self, batches: list[Any]):
        self.batches = list(batches)

    def __len__(self) -> int:
        """Return the number of batches."""
        return len(self.batches)

    def epoch(self, epoch: int, start: int = 0, steps_per_call: int = 1) -> Iterator[Any]:
        """Yield the batches from `start` on; `steps_per_call` of them stacked, where it is above 1.

        Raises:
            TypeError: an argument is not an integer.
            ValueError: an argument is out of range.
            ReadError: batches of one call differ in shape.
        """
        _, start, together = check_epoch("fit", epoch, start, steps_per_call, len(self))
        rest = self.batches[start:]
        if together == 1:
            return iter(rest)
        calls = (rest[i : i + together] for i in range(0, len(rest), together))
        return (stack_steps("fit", call) for call in calls)

    def padded(self) -> Iterator[tuple[Any, np.ndarray]]:
        """Yield each batch with a mask [B] in which all of it counts, for an evaluation.

        Batches are as they are: one of another shape takes a compilation of its own.

        Raises:
            ValueError: a batch whose targets (inputs, where it has none) are no arrays of examples.
        """
        for number, batch in enumerate(self.batches):
            inputs, targets = split_batch(batch)
            leaf = jax.tree.leaves(inputs if targets is None else targets)[0]
            if not np.size(leaf) or not np.ndim(leaf):
                raise ValueError(
                    f"evaluation: expected batch {number} of the list to have arrays of examples, "
                    f"[B, ...], got {leaf!r} (of shape {list(np.shape(leaf))})"
                )
            check_leaves("evaluation", (inputs, targets))
            yield batch, np.ones(len(leaf), bool)


def as_padded(where: str, loader: Any) -> Any:
    """Return a loader that has `padded()` as it is, and a list of batches as one.

    Args:
        where: Who asks, for the errors.
        loader: What the user gave.

    Raises:
        TypeError: Neither such a loader nor a list.
        ValueError: An empty list.
    """
    if callable(getattr(loader, "padded", None)):
        return loader
    if isinstance(loader, list):
        return as_loader(where, loader)
    raise TypeError(
        f"{where}: expected a loader with padded(), or a list of batches, got "
        f"{type(loader).__name__}; wrap a data set in fx.data.Loader(dataset, batch_size)"
    )


def as_loader(where: str, loader: Any, counted: bool = True) -> Any:
    """Return a loader as it is, and a list of batches as one.

    Args:
        where: Who asks, for the errors.
        loader: What the user gave.
        counted: Whether it needs a length.

    Raises:
        TypeError: Neither a loader nor a list.
        ValueError: An empty list.
    """
    if isinstance(loader, list):
        if not loader:
            raise ValueError(f"{where}: expected batches, got an empty list")
        return Listed(loader)
    if callable(getattr(loader, "epoch", None)) and (hasattr(loader, "__len__") or not counted):
        return loader
    hint = "wrap a data set in fx.data.Loader(dataset, batch_size)"
    if isinstance(loader, tuple):
        hint = "of one batch make a list, [(inputs, targets)]; " + hint
    elif isinstance(loader, Iterator):
        hint = (
            "it can be read once, and epochs begin anew: give a list of its batches, or an object "
            "with epoch(n) and len() (docs/data.md has one)"
        )
    raise TypeError(
        f"{where}: expected a loader with epoch(){' and len()' * counted}, or a list of batches, "
        f"got {type(loader).__name__}; {hint}"
    )
