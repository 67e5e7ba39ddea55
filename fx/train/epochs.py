"""An epoch's batches from some step on, whatever the loader can do."""

import inspect
import itertools
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from fx.data.prepare import stack_steps


def batches_from(
    loader: Any, epoch: int, start: int, steps_per_call: int = 1, state: Any = None
) -> Iterator[Any]:
    """What is left of an epoch.

    A loader whose `epoch` has no `start=` makes its batches from the first on, and those before are
    dropped; those of one that has no `steps_per_call=` are stacked here.

    Args:
        loader: Has `epoch(epoch)`, and maybe `start=`, `steps_per_call=` and `state=`.
        epoch: Which one, from 0.
        start: Steps to leave out.
        steps_per_call: Steps in one batch.
        state: Where the loader's iterator stood, if it has one.

    Raises:
        ValueError: There is a state, and `epoch` takes none.
    """
    if steps_per_call > 1:
        whole = not start or _takes(loader, "start")
        if not (whole and _takes(loader, "steps_per_call")):
            return _stacked(batches_from(loader, epoch, start, 1, state), steps_per_call)
    options: dict[str, Any] = {} if steps_per_call == 1 else {"steps_per_call": steps_per_call}
    if not start:
        return iter(loader.epoch(epoch, **options))
    if state is not None:
        if not _takes(loader, "state"):
            raise ValueError(
                "fit: the run keeps the state of its loader's iterator, but epoch() of this "
                f"loader ({type(loader).__name__}) takes no state=; use the same loader"
            )
        options["state"] = state
    if _takes(loader, "start"):
        return iter(loader.epoch(epoch, start=start, **options))
    return itertools.islice(iter(loader.epoch(epoch, **options)), start, None)


def _stacked(batches: Iterator[Any], steps_per_call: int) -> Iterator[Any]:
    """Several batches of one shape as one; a shorter one, the last say, is a call of its own."""
    try:
        for _, alike in itertools.groupby(batches, key=_shapes):
            while held := list(itertools.islice(alike, steps_per_call)):
                yield stack_steps("fit", held)
    finally:
        close = getattr(batches, "close", None)
        if callable(close):
            close()


def _shapes(batch: Any) -> list[tuple[int, ...]]:
    return [np.shape(leaf) for leaf in jax.tree.leaves(batch)]


def _takes(loader: Any, name: str) -> bool:
    """Whether a loader's `epoch` has an argument of this name."""
    try:
        parameters = inspect.signature(loader.epoch).parameters
    except (TypeError, ValueError):  # of one that is written in C nothing is known
        return True
    kinds = {parameter.kind for parameter in parameters.values()}
    return name in parameters or inspect.Parameter.VAR_KEYWORD in kinds
