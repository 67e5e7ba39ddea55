"""A learning-rate range test: one short run over all rates, and what its losses suggest."""

import dataclasses
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from fx.data.listed import as_loader
from fx.data.loader import as_integer
from fx.evaluate.lr_plot import lr_range
from fx.evaluate.mean import Mean
from fx.train.state import TrainState
from fx.train.step import make_step


@dataclasses.dataclass(frozen=True)
class LRRange:
    """What a range test found.

    Attributes:
        lrs: The rates, float64 [n], rising; n is less than the steps asked for where the loss
            diverged.
        losses: The loss at each, before its update, float64 [n].
        smoothed: The same, averaged over neighbours, float64 [n].
        steepest: The rate at which the smoothed loss falls fastest; None where it never falls.
        tenth_of_lowest: A tenth of the rate at which the smoothed loss is lowest; None likewise.
        suggestion: The smaller of the two; None likewise.
        diverged: Whether the loss did, which ended the test.
    """

    lrs: np.ndarray = dataclasses.field(repr=False)
    losses: np.ndarray = dataclasses.field(repr=False)
    smoothed: np.ndarray = dataclasses.field(repr=False)
    steepest: float | None
    tenth_of_lowest: float | None
    suggestion: float | None
    diverged: bool

    def plot(self, path: str | os.PathLike[str]) -> Path:
        """Draw loss over learning rate into a file; see `fx.evaluate.lr_plot.lr_range`."""
        marks = {"steepest": self.steepest, "a tenth of the lowest": self.tenth_of_lowest}
        known = {name: rate for name, rate in marks.items() if rate is not None}
        return lr_range(self.lrs, self.losses, self.smoothed, path, known)


def find_lr(
    model: Any,
    loss_fn: Callable[[Any, Any], jax.Array | Mean],
    make_optimizer: Callable[[Any], optax.GradientTransformation],
    ts: TrainState,
    loader: Any,
    *,
    lr_min: float = 1e-7,
    lr_max: float = 10.0,
    steps: int = 100,
    **options: Any,
) -> LRRange:
    """Train a few steps with a learning rate that grows from step to step, and watch the loss.

    The rate grows exponentially from lr_min to lr_max. The test ends early where the loss is not
    finite, or the mean of the last twentieth of the steps is more than twice the mean of the first
    (for a loss that starts below zero: more than that far above it). Nothing of the caller's
    changes: the test trains a copy of `ts`.

    Args:
        model: As for `make_step`.
        loss_fn: As for `make_step`.
        make_optimizer: From a schedule, a function of the step, to an optimizer: `fx.optim.adam`,
            or `lambda lr: fx.optim.sgd(lr, momentum=0.9)`.
        ts: The state to start from; its optimizer's state is not used.
        loader: Whose `epoch(n)` yields batches, or a list of batches; as many epochs as there is
            need of.
        lr_min: The first rate.
        lr_max: The last rate.
        steps: How many; one batch each.
        options: For `make_step`: `transform`, `precision`, `clip_norm` and the like.

    Returns:
        An `LRRange`.

    Raises:
        TypeError: A loader without `epoch` that is no list, a make_optimizer that is an optimizer
            already, steps that is not an integer, or an option that make_step does not have.
        ValueError: Rates that are not 0 < lr_min < lr_max; fewer than 10 steps; a loader that
            yields nothing; options that have donate or steps_per_call.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> import fx
        >>> class Line:
        ...     def init(self, key):
        ...         return {"weight": jnp.zeros(())}, {}
        ...     def apply(self, params, state, x, *, train=False, key=None):
        ...         return params["weight"] * x, state
        >>> class Ones:
        ...     def epoch(self, n):
        ...         yield from [(jnp.ones(4), jnp.ones(4))] * 2
        >>> ts = fx.train.create(Line(), fx.optim.sgd(0.1), jax.random.key(0))
        >>> found = find_lr(Line(), lambda y, t: jnp.mean((y - t) ** 2), fx.optim.sgd, ts, Ones())
        >>> found.diverged, 0.01 < found.suggestion < 1
        (True, True)

    Source:
        Smith, Cyclical Learning Rates for Training Neural Networks, section 3.3. The losses are
        averaged over neighbours on both sides; an average over the past alone, as is common,
        shifts what it suggests to higher rates.
    """
    steps = as_integer("find_lr", "steps", steps)
    loader = as_loader("find_lr", loader, counted=False)
    _check(lr_min, lr_max, steps, options)
    if not callable(make_optimizer):
        raise TypeError(
            "find_lr: expected make_optimizer to be a function of the learning rate, got "
            f"{type(make_optimizer).__name__}; write fx.optim.adam, or lambda lr: "
            "fx.optim.sgd(lr, momentum=0.9)"
        )
    growth = np.log(lr_max / lr_min) / (steps - 1)

    def schedule(count: jax.Array) -> jax.Array:
        return lr_min * jnp.exp(growth * jnp.asarray(count, jnp.float32))

    step = make_step(model, loss_fn, make_optimizer(schedule), **options)
    ts = jax.tree.map(jnp.copy, ts)
    ts = ts.replace(opt_state=step.optimizer.init(ts.params))
    losses, diverged = _sweep(step, ts, _endless(loader), steps, window=max(2, steps // 20))
    if not len(losses):
        raise ValueError(
            f"find_lr: the loss is not finite at the first step, whose rate is {lr_min:g}; look "
            "for nan in the data and the weights, with fx.debug.xray say, or give a smaller lr_min"
        )
    lrs = lr_min * np.exp(growth * np.arange(len(losses)))
    smoothed = _smooth(losses, max(2, steps // 20))
    steepest, tenth = _suggest(lrs, smoothed)
    suggestion = None if steepest is None or tenth is None else min(steepest, tenth)
    return LRRange(lrs, losses, smoothed, steepest, tenth, suggestion, diverged)


def _check(lr_min: float, lr_max: float, steps: int, options: dict) -> None:
    if not 0 < lr_min < lr_max:
        raise ValueError(f"find_lr: expected 0 < lr_min < lr_max, got {lr_min} and {lr_max}")
    if steps < 10:
        raise ValueError(f"find_lr: expected steps of 10 or more, got {steps}")
    if taken := sorted({"donate", "steps_per_call"} & set(options)):
        raise ValueError(f"find_lr: expected no {taken[0]}; the test takes one step a call")


def _endless(loader: Any) -> Iterator[Any]:
    epoch = 0
    while True:
        empty = True
        for batch in loader.epoch(epoch):
            empty = False
            yield batch
        if empty:
            raise ValueError(f"find_lr: expected batches, but epoch {epoch} of the loader is empty")
        epoch += 1


def _sweep(
    step: Callable, ts: TrainState, batches: Iterator[Any], steps: int, window: int
) -> tuple[np.ndarray, bool]:
    """Train; return the finite losses, and whether what came after them diverged."""
    losses: list[float] = []
    for _ in range(steps):
        ts, metrics = step(ts, next(batches))
        losses.append(float(metrics["loss"]))
        if not np.isfinite(losses[-1]):
            return np.array(losses[:-1]), True
        first = np.mean(losses[:window])
        if len(losses) > window and np.mean(losses[-window:]) > first + abs(first):
            return np.array(losses), True
    return np.array(losses), False


def _smooth(losses: np.ndarray, reach: int) -> np.ndarray:
    """Average over neighbours, with weights that fall to both sides; at the ends, over fewer."""
    weights = np.bartlett(2 * reach + 3)[1:-1]
    total = np.convolve(losses, weights, "full")[reach : reach + len(losses)]
    return total / np.convolve(np.ones(len(losses)), weights, "full")[reach : reach + len(losses)]


def _suggest(lrs: np.ndarray, smoothed: np.ndarray) -> tuple[float | None, float | None]:
    if len(lrs) < 3:
        return None, None
    lowest = int(np.argmin(smoothed))
    slope = np.gradient(smoothed, np.log(lrs))[: lowest + 1]
    if slope.min() >= 0:
        return None, None
    steepest = int(np.argmin(slope))
    if steepest == 0:  # noise: before the first rate nothing is known
        return None, None
    return float(lrs[steepest]), float(lrs[lowest] / 10)
