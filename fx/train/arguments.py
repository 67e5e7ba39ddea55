"""What `fit` expects of its arguments."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from fx import checkpoint
from fx.data.loader import as_integer
from fx.donated import is_donated
from fx.train.record import mode_of
from fx.train.state import TrainState
from fx.train.watch.event import Event


def check_present(ts: Any) -> None:
    """Raise where a state went into an earlier step, which reused its memory."""
    if any(map(is_donated, jax.tree.leaves(ts))):
        raise ValueError(
            "fit: expected a ts whose arrays are there, but this one went into an earlier step or "
            "fit, which reused its memory; use the state that it returned (result.ts), or make "
            "the step with donate=False"
        )


def check_kinds(step: Any, ts: Any, validate: Any) -> None:
    """Raise where one of them is something else."""
    if not callable(step):
        raise TypeError(
            f"fit: expected step to be a function (ts, batch) -> (ts, metrics), got "
            f"{type(step).__name__}; write fit(step, ts, loader, epochs=...)"
        )
    several = isinstance(ts, list | tuple | dict) and ts and not hasattr(ts, "step")
    parts = list(ts.values()) if isinstance(ts, dict) else ts
    if several and all(isinstance(one, TrainState) for one in parts):
        if isinstance(ts, dict) or hasattr(ts, "_fields"):
            raise TypeError(
                f"fit: expected a state with a step, got {type(ts).__name__} of {len(ts)} "
                "states; make it a NamedTuple of them with "
                "step = property(lambda self: self[0].step)"
            )
        raise TypeError(
            f"fit: expected one state, got {len(ts)}; fx.train.fit_many(step, states, ...) trains "
            "several seeds, learning rates or folds"
        )
    if not hasattr(ts, "step"):
        kept = hasattr(ts, "ts")  # a Result
        raise TypeError(
            f"fit: expected a training state with a step, got {type(ts).__name__}; "
            + ("go on with result.ts" if kept else "make one with fx.train.create")
        )
    if validate is not None and not callable(validate):
        raise TypeError(
            f"fit: expected validate to be a function of ts, got {type(validate).__name__}; make "
            "one with fx.train.make_eval(model, loss_fn, loader)"
        )


def check_callbacks(callbacks: Any) -> list[Callable[[Event], Any]]:
    """A callback, or several, as a list."""
    listed = [callbacks] if callable(callbacks) else list(callbacks)
    for callback in listed:
        if isinstance(callback, type) or not callable(callback):
            came = repr(callback) if isinstance(callback, type) else type(callback).__name__
            raise TypeError(
                f"fit: expected callbacks to be functions of an Event, got {came}; write a "
                "function, or an object with __call__(event), that looks at event.kind"
            )
    return listed


def check_arguments(
    counts: dict[str, Any], monitor: Any, mode: Any, validate: Any, out: Any, resume: bool
) -> None:
    """Raise where an argument is out of range, or needs another that is not there.

    Args:
        counts: Those that are integers of 1 or more, or None, by their names.
        monitor: As `fit`'s, and so are the others.
        mode: As there.
        validate: As there.
        out: As there.
        resume: As there.
    """
    for name, value in counts.items():
        none = value is None and name not in ("epochs", "log_every", "keep", "keep_best")
        if not none and as_integer("fit", name, value) < 1:
            raise ValueError(f"fit: expected {name} of 1 or more, got {value}")
    if mode not in (None, "max", "min"):
        raise ValueError(f'fit: expected mode="max" or "min", got {mode!r}')
    if validate is None and (counts["patience"] is not None or monitor is not None):
        raise ValueError("fit: patience and monitor need validate=; make one with make_eval")
    if monitor is not None and mode is None:
        mode_of(monitor)  # raises where the name does not tell; better now than after an epoch
    if counts["keep_best"] > 1 and (validate is None or out is None):
        raise ValueError(
            "fit: keep_best above 1 needs out=, the folder to keep checkpoints in, and validate=, "
            "which says how good they are"
        )
    if resume and out is None:
        raise ValueError("fit: resume=True needs out=, the folder of the run to go on with")


def check_new(folder: Path) -> None:
    """Raise where a folder holds a run."""
    names = ("history.json", "log.jsonl")
    if checkpoint.steps(folder) or any((folder / name).exists() for name in names):
        raise FileExistsError(
            f"fit: {folder} holds a run already; resume=True goes on with it, or choose another out"
        )
