"""Schedules made of schedules: one after the other, multiplied, per epoch, with a warm-up."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from fx.optim.curves import Level, as_float, as_steps, between, check_strategy
from fx.optim.learning_rate import Schedule
from fx.optim.schedules import cosine_annealing_lr, linear_lr


def per_epoch(schedule: Schedule, steps_per_epoch: int) -> Schedule:
    """A schedule that counts epochs, as one that counts steps.

    Args:
        schedule: A function of the epoch (0, 1, 2, ...).
        steps_per_epoch: Training steps per epoch.

    Returns:
        A function of the step. The rate moves at the end of each epoch, as in a torch program that
        calls `scheduler.step()` there.

    Raises:
        ValueError: steps_per_epoch below 1.

    Example:
        >>> import fx
        >>> schedule = per_epoch(fx.optim.step_lr(1.0, step_size=1, gamma=0.5), steps_per_epoch=2)
        >>> [float(schedule(step)) for step in range(5)]
        [1.0, 1.0, 0.5, 0.5, 0.25]
    """
    _check_schedule("per_epoch", schedule)
    steps_per_epoch = as_steps("per_epoch", "steps_per_epoch", steps_per_epoch)
    return lambda step: schedule(jnp.asarray(step) // steps_per_epoch)


def sequential_lr(schedulers: Sequence[Schedule], milestones: Sequence[int]) -> Schedule:
    """One schedule after the other, each counting from its own start.

    Args:
        schedulers: Schedules, with their own learning rates.
        milestones: Steps at which the next one takes over; one fewer than there are schedules.

    Returns:
        A function of the step.

    Raises:
        ValueError: No schedule, another number of milestones, or milestones that fall.
        TypeError: One of the schedulers is not a function.

    Example:
        >>> import fx
        >>> warm = fx.optim.linear_lr(1.0, start_factor=0.5, total_iters=2)
        >>> schedule = sequential_lr([warm, fx.optim.exponential_lr(1.0, 0.5)], [2])
        >>> [float(schedule(step)) for step in range(5)]
        [0.5, 0.75, 1.0, 0.5, 0.25]

    Source: torch.optim.lr_scheduler.SequentialLR; the optimizer, its first argument, is not needed.
    """
    for part in schedulers:
        _check_schedule("sequential_lr", part)
    steps = [as_steps("sequential_lr", "milestones", value, least=0) for value in milestones]
    if not schedulers or len(steps) != len(schedulers) - 1:
        raise ValueError(
            "sequential_lr: expected schedulers and one milestone fewer, got "
            f"{len(schedulers)} and {len(steps)}"
        )
    if steps != sorted(steps):
        raise ValueError(f"sequential_lr: expected milestones that rise, got {steps}")
    first, *others = schedulers

    def schedule(step) -> jax.Array:
        step = jnp.asarray(step)
        value = as_float(first(step))
        for milestone, following in zip(steps, others):
            # Not yet started, it is asked for its first step; its value is not used.
            local = jnp.maximum(step - milestone, 0)
            value = jnp.where(step >= milestone, as_float(following(local)), value)
        return value

    return schedule


def chained_scheduler(schedulers: Sequence[Schedule], lr: Level) -> Schedule:
    """Several schedules at once: `lr` times the factor of each.

    Args:
        schedulers: Schedules, each made with the same `lr`.
        lr: Base learning rate, above 0; in the place of torch's optimizer.

    Returns:
        A function of the step.

    Raises:
        ValueError: No schedule, or an lr that is not above 0.
        TypeError: One of the schedulers is not a function.

    Example:
        >>> import fx
        >>> half = fx.optim.constant_lr(1.0, factor=0.5, total_iters=2)
        >>> schedule = chained_scheduler([half, fx.optim.exponential_lr(1.0, 0.5)], 1.0)
        >>> [float(schedule(step)) for step in range(4)]
        [0.5, 0.25, 0.25, 0.125]

    Source: torch.optim.lr_scheduler.ChainedScheduler. Equal to it for schedules that multiply:
    constant, linear, polynomial, exponential, step, multi-step, multiplicative, and a cosine with
    eta_min=0 up to T_max. What torch makes of others depends on the order of its updates (LambdaLR
    overwrites what stands before it); here they are multiplied as well.
    """
    if not schedulers:
        raise ValueError("chained_scheduler: expected at least one schedule, got none")
    for part in schedulers:
        _check_schedule("chained_scheduler", part)
    if isinstance(lr, int | float) and not lr > 0:
        raise ValueError(f"chained_scheduler: expected lr > 0, got {lr}")

    def schedule(step) -> jax.Array:
        value = as_float(lr)
        for part in schedulers:
            value = value * (as_float(part(step)) / as_float(lr))
        return value

    return schedule


def warmup_cosine_lr(
    lr: Level,
    warmup_steps: int,
    total_steps: int,
    eta_min: float = 0.0,
    start_factor: float = 0.01,
) -> Schedule:
    """Straight up from `lr * start_factor` to `lr`, then half a cosine down to `eta_min`.

    Args:
        lr: Highest learning rate.
        warmup_steps: Steps up.
        total_steps: Steps of the whole; the rate is eta_min from there on.
        eta_min: Lowest learning rate.
        start_factor: The first rate is `lr * start_factor`; in (0, 1].

    Returns:
        A function of the step.

    Raises:
        ValueError: warmup_steps below 1 or not below total_steps, or start_factor out of range.

    Example:
        >>> schedule = warmup_cosine_lr(1.0, 2, 6, start_factor=0.5)
        >>> [round(float(schedule(step)), 3) for step in range(8)]
        [0.5, 0.75, 1.0, 0.854, 0.5, 0.146, 0.0, 0.0]

    Source: torch's SequentialLR of LinearLR and CosineAnnealingLR, with the start_factor of
    torchvision's training recipes. torch's cosine would rise again past total_steps.
    """
    up, down = _two_parts("warmup_cosine_lr", warmup_steps, total_steps)
    cosine = cosine_annealing_lr(lr, down, eta_min)

    def held(step) -> jax.Array:
        return cosine(jnp.minimum(jnp.asarray(step), down))

    return sequential_lr([linear_lr(lr, start_factor, 1.0, up), held], [up])


def warmup_linear_lr(
    lr: Level,
    warmup_steps: int,
    total_steps: int,
    end_factor: float = 0.0,
    start_factor: float = 0.01,
) -> Schedule:
    """Straight up from `lr * start_factor` to `lr`, then straight down to `lr * end_factor`.

    Args:
        lr: Highest learning rate.
        warmup_steps: Steps up.
        total_steps: Steps of the whole; the rate is constant from there on.
        end_factor: The last rate is `lr * end_factor`; in [0, 1].
        start_factor: The first rate is `lr * start_factor`; in (0, 1].

    Returns:
        A function of the step.

    Raises:
        ValueError: warmup_steps below 1 or not below total_steps, or a factor out of range.

    Example:
        >>> schedule = warmup_linear_lr(1.0, 2, 6, start_factor=0.5)
        >>> [float(schedule(step)) for step in range(8)]
        [0.5, 0.75, 1.0, 0.75, 0.5, 0.25, 0.0, 0.0]

    Source: torch's SequentialLR of two LinearLR.
    """
    up, down = _two_parts("warmup_linear_lr", warmup_steps, total_steps)
    parts = [linear_lr(lr, start_factor, 1.0, up), linear_lr(lr, 1.0, end_factor, down)]
    return sequential_lr(parts, [up])


def swa_lr(
    lr: Level, swa_lr: Level, anneal_epochs: int = 10, anneal_strategy: str = "cos"
) -> Schedule:
    """From `lr` to the constant rate at which weights are averaged.

    Args:
        lr: Learning rate before.
        swa_lr: Learning rate after.
        anneal_epochs: Steps from one to the other; 0 means at once.
        anneal_strategy: "cos" or "linear".

    Returns:
        A function of the step, 0 being the first of the annealing: to start later, make it the
        last one of a `sequential_lr`.

    Raises:
        ValueError: anneal_epochs below 0, or an unknown strategy.

    Example:
        >>> [float(swa_lr(1.0, 0.5, 2, "linear")(step)) for step in range(4)]
        [1.0, 0.75, 0.5, 0.5]

    Source: torch.optim.swa_utils.SWALR, whose epochs are calls of `scheduler.step()`.
    """
    length = as_steps("swa_lr", "anneal_epochs", anneal_epochs, least=0)
    check_strategy("swa_lr", anneal_strategy)

    def schedule(step) -> jax.Array:
        step = jnp.asarray(step)
        if length == 0:
            return as_float(swa_lr) * jnp.ones_like(as_float(step))
        done, rest = as_float(step) / length, as_float(length - step) / length
        return between(lr, swa_lr, done, rest, anneal_strategy)

    return schedule


def _two_parts(name: str, warmup_steps: int, total_steps: int) -> tuple[int, int]:
    up = as_steps(name, "warmup_steps", warmup_steps)
    down = as_steps(name, "total_steps", total_steps) - up
    if down < 1:
        raise ValueError(
            f"{name}: expected warmup_steps below total_steps, got {warmup_steps} and {total_steps}"
        )
    return up, down


def _check_schedule(name: str, schedule: object) -> None:
    if not callable(schedule):
        raise TypeError(f"{name}: expected a function of the step, got {type(schedule).__name__}")
