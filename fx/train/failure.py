"""The end of a run whose loss or gradients are not finite: what happened, kept to look at."""

from pathlib import Path
from typing import Any

import jax

from fx.checkpoint.processes import together
from fx.data.epochs import batches_from
from fx.debug.crash import save_crash
from fx.debug.report import Report
from fx.debug.xray import xray
from fx.train.processes import whole
from fx.train.state import TrainState


class Diverged(Exception):
    """A step was not finite: it ends the epochs of a run.

    Attributes:
        ts: The state that the step left, which is the one before it.
        epoch: The epoch of the bad step, from 0.
        at: Its place in the epoch, from 0.
        number: Its number since the beginning of training, from 1.
    """

    def __init__(self, ts: Any, epoch: int, at: int, number: int) -> None:
        super().__init__(f"step {number}")
        self.ts, self.epoch, self.at, self.number = ts, epoch, at, number


def explain_failure(
    step: Any, found: Diverged, loader: Any, folder: Path | None
) -> FloatingPointError:
    """Look for what made a step bad, keep it, and say so.

    Args:
        step: The step, made with check_finite.
        found: Where it happened; of several processes each must ask.
        loader: Where the batch came from, and comes from again.
        folder: The run's folder; its `crash/` gets state, batch and report.

    Returns:
        The error to raise.
    """
    ts, epoch, at = found.ts, found.epoch, found.at
    where = f"fit: loss or gradients of step {at + 1} of epoch {epoch + 1} are not finite"
    if not isinstance(ts, TrainState):
        return FloatingPointError(
            f"{where}; the state is as it was before that step. To see why, give it with the batch "
            "to fx.debug.xray, one run of several alone"
        )
    batch = _batch(step, loader, epoch, at)
    if jax.process_count() > 1:  # each looks at the whole for itself, so that they end together
        ts, batch = whole(ts), whole(batch)
    try:
        report = xray(step, ts, batch)
    except Exception as error:  # what went wrong must not be lost for what went wrong after it
        report = Report(False, note=f"xray failed with {type(error).__name__}: {error}")
    if folder is None:
        return FloatingPointError(f"{where}.\n{report}")
    with together("keeping the bad step"):
        if jax.process_index() == 0:
            save_crash(folder / "crash", step, ts, batch, report)
    return FloatingPointError(
        f"{where}.\n{report}\nState, key, batch and this report are in {folder / 'crash'}; "
        "fx.debug.xray(step, *fx.debug.load_crash(folder, ts, batch)) looks again"
    )


def _batch(step: Any, loader: Any, epoch: int, at: int) -> Any:
    per_call = getattr(step, "steps_per_call", 1)
    batch = next(batches_from(loader, epoch, at, per_call))
    return jax.tree.map(lambda leaf: leaf[:1], batch) if per_call > 1 else batch
