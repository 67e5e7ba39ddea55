"""torch's schedules that rise and fall: warm restarts, cyclic rates, one cycle.

torch's CyclicLR and OneCycleLR also move the momentum, from inside of the scheduler. Here momentum
has a schedule of its own, `cyclic_momentum` or `one_cycle_momentum`, and goes into an optimizer so:

    optax.inject_hyperparams(optim.sgd)(
        lr=optim.one_cycle_lr(0.1, steps), momentum=optim.one_cycle_momentum(total_steps=steps)
    )

For Adam's first beta: `optax.inject_hyperparams(optax.adam)(learning_rate=..., b1=...)`.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from fx.optim.curves import (
    Level,
    as_float,
    as_steps,
    between,
    call,
    check_strategy,
    falling_cosine,
    power,
)
from fx.optim.learning_rate import Schedule


def cosine_annealing_warm_restarts(
    lr: Level, T_0: int, T_mult: int = 1, eta_min: float = 0.0
) -> Schedule:
    """Cosines from `lr` to `eta_min`, each `T_mult` times as long as the one before.

    Args:
        lr: Base learning rate.
        T_0: Steps of the first cosine.
        T_mult: Factor from one length to the next.
        eta_min: Lowest learning rate.

    Returns:
        A function of the step.

    Raises:
        ValueError: T_0 or T_mult below 1 or not whole.

    Example:
        >>> schedule = cosine_annealing_warm_restarts(1.0, T_0=2, T_mult=2)
        >>> [round(float(schedule(step)), 3) for step in range(7)]
        [1.0, 0.5, 1.0, 0.854, 0.5, 0.146, 1.0]

    Source: torch.optim.lr_scheduler.CosineAnnealingWarmRestarts; SGDR (arXiv 1608.03983). Where a
    torch program steps by fractions of an epoch, count steps: `T_0=epochs * steps_per_epoch`.
    """
    name = "cosine_annealing_warm_restarts"
    T_0, T_mult = as_steps(name, "T_0", T_0), as_steps(name, "T_mult", T_mult)

    def schedule(step) -> jax.Array:
        step = jnp.asarray(step)
        if T_mult == 1:
            done, length = step % T_0, T_0
        else:
            starts, lengths = _restarts(T_0, T_mult)
            starts = jnp.asarray(starts, step.dtype)
            cycle = jnp.sum(step[..., None] >= starts, -1) - 1
            done, length = step - starts[cycle], as_float(lengths)[cycle]
        return eta_min + (as_float(lr) - eta_min) * falling_cosine(done, length)

    return schedule


def cyclic_lr(
    base_lr: Level,
    max_lr: Level,
    step_size_up: int = 2000,
    step_size_down: int | None = None,
    mode: str = "triangular",
    gamma: float = 1.0,
    scale_fn: Callable[[Any], Any] | None = None,
    scale_mode: str = "cycle",
) -> Schedule:
    """Straight up from `base_lr` to `max_lr` and down again, over and over.

    Args:
        base_lr: Lowest learning rate.
        max_lr: Highest one, of the first cycle.
        step_size_up: Steps up.
        step_size_down: Steps down; None means step_size_up.
        mode: "triangular": every cycle alike. "triangular2": each half as high as the one before.
            "exp_range": the height at a step is times `gamma ** step`.
        gamma: For "exp_range".
        scale_fn: Factor of the height, in place of `mode`: a function of the cycle (1, 2, ...) or
            of the step, traceable.
        scale_mode: What scale_fn is a function of: "cycle" or "iterations".

    Returns:
        A function of the step.

    Raises:
        ValueError: An unknown mode or scale_mode, or a length below 1.

    Example:
        >>> schedule = cyclic_lr(0.0, 1.0, step_size_up=2, mode="triangular2")
        >>> [float(schedule(step)) for step in range(8)]
        [0.0, 0.5, 1.0, 0.5, 0.0, 0.25, 0.5, 0.25]

    Source: torch.optim.lr_scheduler.CyclicLR (arXiv 1506.01186); its `cycle_momentum` is
    `cyclic_momentum`.
    """
    height = _cycle("cyclic_lr", step_size_up, step_size_down, mode, gamma, scale_fn, scale_mode)
    return lambda step: as_float(base_lr) + (as_float(max_lr) - as_float(base_lr)) * height(step)


def cyclic_momentum(
    base_momentum: Level = 0.8,
    max_momentum: Level = 0.9,
    step_size_up: int = 2000,
    step_size_down: int | None = None,
    mode: str = "triangular",
    gamma: float = 1.0,
    scale_fn: Callable[[Any], Any] | None = None,
    scale_mode: str = "cycle",
) -> Schedule:
    """The momentum that goes with `cyclic_lr`: low where the learning rate is high.

    Args:
        base_momentum: At the top of a cycle.
        max_momentum: At its start and end.
        step_size_up: As in `cyclic_lr`, like all that follow.
        step_size_down: See there.
        mode: See there.
        gamma: See there.
        scale_fn: See there.
        scale_mode: See there.

    Returns:
        A function of the step.

    Raises:
        ValueError: As `cyclic_lr`.

    Example:
        >>> schedule = cyclic_momentum(0.5, 1.0, step_size_up=2)
        >>> [float(schedule(step)) for step in range(5)]
        [1.0, 0.75, 0.5, 0.75, 1.0]

    Source: torch.optim.lr_scheduler.CyclicLR with cycle_momentum=True.
    """
    height = _cycle(
        "cyclic_momentum", step_size_up, step_size_down, mode, gamma, scale_fn, scale_mode
    )

    def schedule(step) -> jax.Array:
        return as_float(max_momentum) - (as_float(max_momentum) - base_momentum) * height(step)

    return schedule


def one_cycle_lr(
    max_lr: Level,
    total_steps: int | None = None,
    epochs: int | None = None,
    steps_per_epoch: int | None = None,
    pct_start: float = 0.3,
    anneal_strategy: str = "cos",
    *,
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
    three_phase: bool = False,
) -> Schedule:
    """Up from `max_lr / div_factor` to `max_lr`, then down to almost nothing.

    Args:
        max_lr: Highest learning rate.
        total_steps: Steps of the whole; None means `epochs * steps_per_epoch`.
        epochs: Where total_steps is None.
        steps_per_epoch: Where total_steps is None.
        pct_start: Share of the steps that go up, in [0, 1].
        anneal_strategy: "cos" or "linear".
        div_factor: The first rate is `max_lr / div_factor`.
        final_div_factor: The last rate is the first over this.
        three_phase: Go down to the first rate as fast as up, and then to the last one.

    Returns:
        A function of the step.

    Raises:
        ValueError: No length, one below 1, pct_start out of range, an unknown strategy.

    Example:
        >>> schedule = one_cycle_lr(1.0, total_steps=10, anneal_strategy="linear")
        >>> [round(float(schedule(step)), 2) for step in range(10)]
        [0.04, 0.52, 1.0, 0.86, 0.71, 0.57, 0.43, 0.29, 0.14, 0.0]

    Source: torch.optim.lr_scheduler.OneCycleLR (arXiv 1708.07120); its `cycle_momentum` is
    `one_cycle_momentum`. Past the end the last rate stays, where torch raises.
    """
    ends = _phases(
        "one_cycle_lr",
        total_steps,
        epochs,
        steps_per_epoch,
        pct_start,
        anneal_strategy,
        three_phase,
    )
    first = max_lr / div_factor
    last = first / final_div_factor
    levels = [first, max_lr, first, last] if three_phase else [first, max_lr, last]
    return _through(levels, ends, anneal_strategy)


def one_cycle_momentum(
    base_momentum: Level = 0.85,
    max_momentum: Level = 0.95,
    total_steps: int | None = None,
    epochs: int | None = None,
    steps_per_epoch: int | None = None,
    pct_start: float = 0.3,
    anneal_strategy: str = "cos",
    *,
    three_phase: bool = False,
) -> Schedule:
    """The momentum that goes with `one_cycle_lr`: low where the learning rate is high.

    Args:
        base_momentum: Where the learning rate is highest.
        max_momentum: At the start and at the end.
        total_steps: As in `one_cycle_lr`, like all that follow.
        epochs: See there.
        steps_per_epoch: See there.
        pct_start: See there.
        anneal_strategy: See there.
        three_phase: See there.

    Returns:
        A function of the step.

    Raises:
        ValueError: As `one_cycle_lr`.

    Example:
        >>> schedule = one_cycle_momentum(0.5, 1.0, total_steps=10, anneal_strategy="linear")
        >>> [float(schedule(step)) for step in (0, 1, 2, 9)]
        [1.0, 0.75, 0.5, 1.0]

    Source: torch.optim.lr_scheduler.OneCycleLR with cycle_momentum=True.
    """
    ends = _phases(
        "one_cycle_momentum",
        total_steps,
        epochs,
        steps_per_epoch,
        pct_start,
        anneal_strategy,
        three_phase,
    )
    levels = [max_momentum, base_momentum, max_momentum]
    return _through([*levels, max_momentum] if three_phase else levels, ends, anneal_strategy)


def _restarts(T_0: int, T_mult: int) -> tuple[list[int], list[int]]:
    starts, lengths = [0], [T_0]
    while starts[-1] + lengths[-1] < 2**31:
        starts.append(starts[-1] + lengths[-1])
        lengths.append(lengths[-1] * T_mult)
    return starts, lengths


def _cycle(
    name: str,
    step_size_up: int,
    step_size_down: int | None,
    mode: str,
    gamma: float,
    scale_fn: Callable[[Any], Any] | None,
    scale_mode: str,
) -> Schedule:
    """The height above the base, 1 at the top of the first cycle."""
    up = as_steps(name, "step_size_up", step_size_up)
    down = up if step_size_down is None else as_steps(name, "step_size_down", step_size_down)
    if mode not in ("triangular", "triangular2", "exp_range") and scale_fn is None:
        raise ValueError(
            f'{name}: expected mode "triangular", "triangular2" or "exp_range", got {mode!r}'
        )
    if scale_mode not in ("cycle", "iterations"):
        raise ValueError(f'{name}: expected scale_mode "cycle" or "iterations", got {scale_mode!r}')

    def scale(step: jax.Array) -> jax.Array:
        finished = step // (up + down)
        if scale_fn is not None:
            return call(scale_fn, finished + 1 if scale_mode == "cycle" else step)
        if mode == "triangular2":
            return power(0.5, finished)
        return power(gamma, step) if mode == "exp_range" else as_float(1.0)

    def height(step) -> jax.Array:
        step = jnp.asarray(step)
        place = step % (up + down)
        rising, falling = as_float(place) / up, as_float(up + down - place) / down
        return jnp.where(place <= up, rising, falling) * scale(step)

    return height


def _phases(
    name: str,
    total_steps: int | None,
    epochs: int | None,
    steps_per_epoch: int | None,
    pct_start: float,
    anneal_strategy: str,
    three_phase: bool,
) -> list[float]:
    """The steps at which the phases start and end; not whole, as in torch."""
    check_strategy(name, anneal_strategy)
    if total_steps is not None:
        total = as_steps(name, "total_steps", total_steps)
    elif epochs is not None and steps_per_epoch is not None:
        per_epoch = as_steps(name, "steps_per_epoch", steps_per_epoch)
        total = as_steps(name, "epochs", epochs) * per_epoch
    else:
        raise ValueError(f"{name}: expected total_steps, or epochs and steps_per_epoch")
    if not 0 <= pct_start <= 1:
        raise ValueError(f"{name}: expected pct_start in [0, 1], got {pct_start}")
    top = pct_start * total - 1
    return [0.0, top, 2 * pct_start * total - 2, total - 1] if three_phase else [0, top, total - 1]


def _through(levels: list[Level], ends: list[float], strategy: str) -> Schedule:
    """From level to level, each reached at the end of its phase."""

    def schedule(step) -> jax.Array:
        step = jnp.minimum(jnp.asarray(step), math.floor(ends[-1]))
        value = jnp.full(step.shape, as_float(levels[-1]))
        for phase in reversed(range(len(ends) - 1)):
            start, end = ends[phase], ends[phase + 1]
            here = as_float(levels[phase + 1])
            if start != end:  # torch divides by zero in a phase without length
                place, length = as_float(step), end - start
                done, rest = (place - start) / length, (end - place) / length
                here = between(levels[phase], levels[phase + 1], done, rest, strategy)
            value = jnp.where(step <= math.floor(end), here, value)
        return value

    return schedule
