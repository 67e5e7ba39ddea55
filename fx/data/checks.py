"""Arguments that all loaders take."""

from __future__ import annotations

import operator
from typing import Any


def as_integer(where: str, name: str, value: Any) -> int:
    """Return an integer of any kind as an int, or raise a TypeError that names the argument."""
    try:
        return operator.index(value)
    except TypeError as error:
        raise TypeError(f"{where}: expected {name} to be an integer, got {value!r}") from error


def refuse_iteration(loader: Any) -> Any:
    """What a loader has as `__iter__`: a TypeError that says what to write."""
    raise TypeError(
        f"{type(loader).__name__}: expected a call of epoch, since batches are a function of the "
        "seed and the epoch; write: for inputs, targets in loader.epoch(0)"
    )


def check_numbers(
    where: str, batch_size: int, workers: int, prefetch: int, timeout_s: float | None
) -> None:
    """Raise a ValueError where a number is out of range."""
    for name, value, least in (
        ("batch_size", batch_size, 1),
        ("prefetch", prefetch, 0),
        ("workers", workers, 1),
    ):
        if value < least:
            raise ValueError(f"{where}: expected {name} of {least} or more, got {value}")
    if timeout_s is not None and not timeout_s > 0:
        raise ValueError(f"{where}: expected timeout_s above 0, or None, got {timeout_s}")


def check_epoch(
    where: str, epoch: Any, start: Any, steps_per_call: Any, length: int | None
) -> tuple[int, int, int]:
    """Return the arguments of `epoch()` as ints.

    Args:
        where: who asks, for the errors.
        epoch: 0 or more.
        start: from 0 to `length`.
        steps_per_call: 1 or more.
        length: steps in an epoch; None where that is not known.

    Raises:
        TypeError: one is not an integer.
        ValueError: one is out of range.
    """
    epoch = as_integer(where, "epoch", epoch)
    start = as_integer(where, "start", start)
    steps_per_call = as_integer(where, "steps_per_call", steps_per_call)
    if epoch < 0:
        raise ValueError(f"{where}: expected epoch of 0 or more, got {epoch}")
    if start < 0 or (length is not None and start > length):
        most = "more" if length is None else f"{length}, the steps of an epoch"
        raise ValueError(
            f"{where}: expected start from 0 to {most}, got {start}; the data set or batch_size "
            "differs from the run this step is from"
        )
    if steps_per_call < 1:
        raise ValueError(f"{where}: expected steps_per_call of 1 or more, got {steps_per_call}")
    return epoch, start, steps_per_call


def check_functions(where: str, transform: Any, collate: Any, batch_transform: Any) -> None:
    """Raise a TypeError where what prepares batches is neither None nor a function."""
    given = {"transform": transform, "collate": collate, "batch_transform": batch_transform}
    for name, value in given.items():
        if value is not None and not callable(value):
            raise TypeError(
                f"{where}: expected {name} to be a function, got {type(value).__name__}"
            )
