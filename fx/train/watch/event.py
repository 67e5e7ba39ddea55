"""What a run reports."""

import dataclasses
from typing import Any

import numpy as np

from fx.train.checks import is_number


@dataclasses.dataclass(frozen=True)
class Event:
    """Something to report.

    Attributes:
        kind: "log", every `log_every` steps, or "epoch", at the end of one.
        epoch: The epoch, from 1.
        step: Steps taken since the beginning of training.
        values: "log": means since the last one, and the learning rate. "epoch": the row of the
            history. Numbers; an array [n] is a distribution, which TensorBoard and Weights &
            Biases draw as a histogram, and which JSON and progress leave out.
        seconds: "epoch": how long it took, evaluation included; "log": since the last one.
        images_per_s: Examples per second of training, without compilation; None where there was
            nothing else.
        ts: The training state. Its arrays are gone after the next step where the step donates
            them; copy what is to be kept.
    """

    kind: str
    epoch: int
    step: int
    values: dict[str, Any]
    seconds: float
    images_per_s: float | None
    ts: Any = dataclasses.field(repr=False)


class Stop(Exception):
    """What a callback raises to end the run as Ctrl-C does: saved, with a result, to be resumed.

    Example:
        >>> import time
        >>> def within_an_hour(event, began=time.monotonic()):
        ...     if time.monotonic() - began > 3600:
        ...         raise Stop
    """


def added(event: Event, callback: Any, found: Any) -> Event:
    """An event with what a callback returned, for whatever reports it afterwards.

    Raises:
        TypeError: It returned the training state, or a value that is no number or array of them.
    """
    if type(found) is type(event.ts):
        raise TypeError(
            f"fit: expected callback {callback!r} to return a dict or None, got a "
            f"{type(found).__name__}; a callback cannot change the training state: let "
            "the optimizer do it, by a schedule of the step, or call fit again"
        )
    if not isinstance(found, dict):
        return event
    for name, value in found.items():
        if not is_number(value):
            raise TypeError(
                f"fit: expected callback {callback!r} to return numbers by name, got "
                f"{value!r} for {name!r}; leave out what is none"
            )
    return dataclasses.replace(event, values={**event.values, **found})


def numbers_in(event: Event) -> dict[str, Any]:
    """Return an event's values without the distributions."""
    return {name: value for name, value in event.values.items() if np.ndim(value) == 0}


def distributions_in(event: Event) -> dict[str, np.ndarray]:
    """Return those of an event's values that are distributions, flat."""
    return {
        name: np.asarray(value).reshape(-1)
        for name, value in event.values.items()
        if np.ndim(value) > 0
    }
