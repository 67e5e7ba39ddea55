"""torch.optim.lr_scheduler's schedules, as pure functions of the step.

Each function takes torch's arguments, with the base learning rate `lr` in place of the optimizer,
and returns `schedule(step) -> learning rate`, equal to torch's closed form. `step` counts what
torch's `scheduler.step()` counts: calls. An optimizer of fx calls its schedule once per training
step; where a torch program steps its scheduler once per epoch, give lengths as epochs times steps
per epoch.
"""

from collections.abc import Iterable

import jax
import jax.numpy as jnp

from fx.optim.learning_rate import Schedule


def constant_lr(lr: float, factor: float = 1 / 3, total_iters: int = 5) -> Schedule:
    """`lr * factor` for `total_iters` steps, then `lr`.

    Args:
        lr: Base learning rate.
        factor: Between 0 and 1.
        total_iters: Steps at the lower rate.

    Returns:
        A function of the step.

    Raises:
        ValueError: factor outside [0, 1].

    Example:
        >>> [float(constant_lr(0.5, 0.5, 2)(step)) for step in range(4)]
        [0.25, 0.25, 0.5, 0.5]

    Source: torch.optim.lr_scheduler.ConstantLR.
    """
    if not 0 <= factor <= 1:
        raise ValueError(f"constant_lr: expected factor in [0, 1], got {factor}")

    def schedule(step) -> jax.Array:
        return jnp.where(jnp.asarray(step) >= total_iters, _float(lr), _float(lr * factor))

    return schedule


def linear_lr(
    lr: float, start_factor: float = 1 / 3, end_factor: float = 1.0, total_iters: int = 5
) -> Schedule:
    """A straight line from `lr * start_factor` to `lr * end_factor`, and constant after.

    Args:
        lr: Base learning rate.
        start_factor: In (0, 1].
        end_factor: In [0, 1].
        total_iters: Steps from one to the other.

    Returns:
        A function of the step.

    Raises:
        ValueError: A factor out of range, or total_iters below 1.

    Example:
        >>> [float(linear_lr(1.0, 0.5, 1.0, 2)(step)) for step in range(4)]
        [0.5, 0.75, 1.0, 1.0]

    Source: torch.optim.lr_scheduler.LinearLR.
    """
    if not 0 < start_factor <= 1:
        raise ValueError(f"linear_lr: expected start_factor in (0, 1], got {start_factor}")
    if not 0 <= end_factor <= 1:
        raise ValueError(f"linear_lr: expected end_factor in [0, 1], got {end_factor}")
    _check_length("linear_lr", "total_iters", total_iters)

    def schedule(step) -> jax.Array:
        done = _float(jnp.minimum(jnp.asarray(step), total_iters))
        return lr * (start_factor + (end_factor - start_factor) * done / total_iters)

    return schedule


def exponential_lr(lr: float, gamma: float) -> Schedule:
    """`lr * gamma ** step`.

    Args:
        lr: Base learning rate.
        gamma: Factor per step.

    Returns:
        A function of the step.

    Example:
        >>> float(exponential_lr(1.0, 0.5)(3))
        0.125

    Source: torch.optim.lr_scheduler.ExponentialLR.
    """
    return lambda step: lr * _float(gamma) ** _float(step)


def step_lr(lr: float, step_size: int, gamma: float = 0.1) -> Schedule:
    """`lr`, multiplied by `gamma` every `step_size` steps.

    Args:
        lr: Base learning rate.
        step_size: Steps between two drops.
        gamma: Factor of each drop.

    Returns:
        A function of the step.

    Raises:
        ValueError: step_size below 1.

    Example:
        >>> [float(step_lr(1.0, 2, 0.5)(step)) for step in range(5)]
        [1.0, 1.0, 0.5, 0.5, 0.25]

    Source: torch.optim.lr_scheduler.StepLR.
    """
    _check_length("step_lr", "step_size", step_size)
    return lambda step: lr * _float(gamma) ** _float(jnp.asarray(step) // step_size)


def multi_step_lr(lr: float, milestones: Iterable[int], gamma: float = 0.1) -> Schedule:
    """`lr`, multiplied by `gamma` at each milestone.

    Args:
        lr: Base learning rate.
        milestones: Steps at which the rate drops, in any order; one given twice drops twice.
        gamma: Factor of each drop.

    Returns:
        A function of the step.

    Example:
        >>> [float(multi_step_lr(1.0, [1, 3], 0.5)(step)) for step in range(4)]
        [1.0, 0.5, 0.5, 0.25]

    Source: torch.optim.lr_scheduler.MultiStepLR.
    """
    steps = tuple(sorted(milestones))

    def schedule(step) -> jax.Array:
        step = jnp.asarray(step)
        passed = jnp.sum(step >= jnp.asarray(steps, step.dtype))
        return lr * _float(gamma) ** _float(passed)

    return schedule


def cosine_annealing_lr(lr: float, T_max: int, eta_min: float = 0.0) -> Schedule:
    """Half a cosine from `lr` at step 0 to `eta_min` at step `T_max`.

    Args:
        lr: Base learning rate.
        T_max: Steps from `lr` to `eta_min`.
        eta_min: Lowest learning rate.

    Returns:
        A function of the step. Past T_max the cosine goes on, and the rate rises again, as
        torch's does.

    Raises:
        ValueError: T_max below 1.

    Example:
        >>> [round(float(cosine_annealing_lr(1.0, 4)(step)), 3) for step in range(5)]
        [1.0, 0.854, 0.5, 0.146, 0.0]

    Source: torch.optim.lr_scheduler.CosineAnnealingLR; SGDR (arXiv 1608.03983), equation 5.
    """
    _check_length("cosine_annealing_lr", "T_max", T_max)
    return lambda step: eta_min + (lr - eta_min) * (1 + jnp.cos(jnp.pi * _float(step) / T_max)) / 2


def _float(value) -> jax.Array:
    return jnp.asarray(value, jnp.result_type(float))


def _check_length(schedule: str, name: str, value: int) -> None:
    if value < 1:
        raise ValueError(f"{schedule}: expected {name} of at least 1 step, got {value}")
