"""Epochs of any loader: from some step on, in calls of several steps, of another length."""

import contextlib
import inspect
import itertools
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from fx.data.checks import as_integer, check_epoch, refuse_iteration
from fx.data.listed import as_loader
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
    return _after(iter(loader.epoch(epoch, **options)), start)


def _after(batches: Iterator[Any], start: int) -> Iterator[Any]:
    with closing(batches):
        yield from itertools.islice(batches, start, None)


def _stacked(batches: Iterator[Any], steps_per_call: int) -> Iterator[Any]:
    """Several batches of one shape as one; a shorter one, the last say, is a call of its own."""
    with closing(batches):
        for _, alike in itertools.groupby(batches, key=_shapes):
            while held := list(itertools.islice(alike, steps_per_call)):
                yield stack_steps("fit", held)


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


def steps_per_epoch(loader: Any, steps: int) -> Any:
    """Call so many steps an epoch, whatever the loader does.

    What happens once an epoch (validation, early stopping, a checkpoint, a row of the history) then
    happens after so many steps: a part of a pass over large data, or several passes over small
    ones. The batches are the loader's, in its order: its epochs follow each other, each shuffled
    anew, and none is lost where they do not meet.

    Args:
        loader: with `epoch(n)` and a length; or a list of batches. One without `start=` is read
            from its epoch's beginning each time.
        steps: in what is an epoch from here on; with `make_step(steps_per_call=k)` best a multiple
            of k, or the last call has fewer, and is compiled for itself.

    Returns:
        A loader, for `fx.fit` and `fx.train.fit_many`. Its other attributes are the loader's.

    Raises:
        TypeError: it is no loader, or `steps` no integer.
        ValueError: `steps` is below 1.

    Example:
        >>> from fx.data import Dataset, Loader
        >>> whole = Loader(Dataset(np.arange(10), np.arange(10)), 2, shuffle=False)
        >>> thirds = steps_per_epoch(whole, 3)
        >>> [[targets.tolist() for _, targets in thirds.epoch(n)] for n in range(2)]
        [[[0, 1], [2, 3], [4, 5]], [[6, 7], [8, 9], [0, 1]]]

    Source:
        Lightning's `val_check_interval` and `limit_train_batches`, Keras' `steps_per_epoch`.
    """
    return StepsPerEpoch(as_loader("steps_per_epoch", loader), steps)


class StepsPerEpoch:
    """A loader whose epochs have another length; `steps_per_epoch` makes it."""

    def __init__(self, loader: Any, steps: int) -> None:
        self.loader, self.steps = loader, as_integer("steps_per_epoch", "steps", steps)
        if self.steps < 1:
            raise ValueError(f"steps_per_epoch: expected steps of 1 or more, got {steps}")

    def __len__(self) -> int:
        return self.steps

    def __repr__(self) -> str:
        return f"steps_per_epoch({self.loader!r}, {self.steps})"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "loader":
            raise AttributeError(name)
        return getattr(self.loader, name)

    __iter__ = refuse_iteration

    def epoch(self, epoch: int, start: int = 0, steps_per_call: int = 1) -> Iterator[Any]:
        """Yield the batches of one of these epochs, from step `start` on.

        Raises:
            TypeError: an argument is not an integer.
            ValueError: an argument is out of range; the loader has no batches.
        """
        where = "steps_per_epoch: epoch"
        epoch, start, together = check_epoch(where, epoch, start, steps_per_call, self.steps)
        return self._batches(epoch * self.steps + start, (epoch + 1) * self.steps, together)

    def _batches(self, at: int, end: int, together: int) -> Iterator[Any]:
        whole = len(self.loader)
        if whole < 1:
            raise ValueError("steps_per_epoch: expected a loader with batches, got one without")
        while at < end:
            number, first = divmod(at, whole)
            stop = min(end, (number + 1) * whole)
            with closing(batches_from(self.loader, number, first, together)) as batches:
                for batch in batches:
                    taken = min(stop - at, _steps(batch) if together > 1 else 1)
                    yield _first(batch, taken) if together > 1 else batch
                    at += taken
                    if at == stop:
                        break
            if at < stop:
                raise ValueError(
                    f"steps_per_epoch: expected {whole} steps of the loader's epoch {number}, its "
                    f"length, but it ended after {at - number * whole}"
                )


def _steps(batch: Any) -> int:
    return np.shape(jax.tree.leaves(batch)[0])[0]


def _first(batch: Any, steps: int) -> Any:
    return batch if steps == _steps(batch) else jax.tree.map(lambda leaf: leaf[:steps], batch)


@contextlib.contextmanager
def closing(batches: Iterator[Any]) -> Iterator[Iterator[Any]]:
    """Have what a loader started (threads, files) end where its batches are not read to the end."""
    try:
        yield batches
    finally:
        close = getattr(batches, "close", None)
        if callable(close):
            close()
