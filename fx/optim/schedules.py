"""torch.optim.lr_scheduler's schedules, as pure functions of the step.

Each function takes torch's arguments, with the base learning rate `lr` in place of the optimizer,
and returns `schedule(step) -> learning rate`, equal to torch's closed form. `step` counts what
torch's `scheduler.step()` counts: calls. An optimizer of fx calls its schedule once per training
step; where a torch program steps its scheduler once per epoch, either give lengths in steps
(`T_max=epochs * steps_per_epoch`: the rate then moves at each step) or wrap the schedule in
`per_epoch(schedule, steps_per_epoch)` (it moves once per epoch, as in torch).

`lr` may be an array, traced too: a learning rate per seed under `jax.vmap`, or one to
differentiate by. The other arguments are Python numbers.
"""

from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fx.optim.curves import Level, as_float, as_steps, call, falling_cosine, power
from fx.optim.learning_rate import Schedule


def constant_lr(lr: Level, factor: float = 1 / 3, total_iters: int = 5) -> Schedule:
    """`lr * factor` for `total_iters` steps, then `lr`.

    Args:
        lr: Base learning rate.
        factor: Between 0 and 1.
        total_iters: Steps at the lower rate.

    Returns:
        A function of the step.

    Raises:
        ValueError: factor outside [0, 1], or total_iters below 0.

    Example:
        >>> [float(constant_lr(0.5, 0.5, 2)(step)) for step in range(4)]
        [0.25, 0.25, 0.5, 0.5]

    Source: torch.optim.lr_scheduler.ConstantLR.
    """
    if not 0 <= factor <= 1:
        raise ValueError(f"constant_lr: expected factor in [0, 1], got {factor}")
    total_iters = as_steps("constant_lr", "total_iters", total_iters, least=0)

    def schedule(step) -> jax.Array:
        return as_float(lr) * jnp.where(jnp.asarray(step) >= total_iters, 1.0, factor)

    return schedule


def linear_lr(
    lr: Level, start_factor: float = 1 / 3, end_factor: float = 1.0, total_iters: int = 5
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
    total_iters = as_steps("linear_lr", "total_iters", total_iters)

    def schedule(step) -> jax.Array:
        done = jnp.minimum(jnp.asarray(step), total_iters)
        ends = start_factor * as_float(total_iters - done) + end_factor * as_float(done)
        return as_float(lr) * (ends / total_iters)

    return schedule


def polynomial_lr(lr: Level, total_iters: int = 5, power: float = 1.0) -> Schedule:
    """`lr` times the share of steps that remain, to the given power; 0 from total_iters on.

    Args:
        lr: Base learning rate.
        total_iters: Steps until the rate is 0.
        power: 1 is a straight line, 2 a parabola.

    Returns:
        A function of the step.

    Raises:
        ValueError: total_iters below 1.

    Example:
        >>> [float(polynomial_lr(1.0, 4, 2.0)(step)) for step in range(6)]
        [1.0, 0.5625, 0.25, 0.0625, 0.0, 0.0]

    Source: torch.optim.lr_scheduler.PolynomialLR.
    """
    total_iters = as_steps("polynomial_lr", "total_iters", total_iters)

    def schedule(step) -> jax.Array:
        rest = as_float(total_iters - jnp.minimum(jnp.asarray(step), total_iters)) / total_iters
        return as_float(lr) * rest**power

    return schedule


def exponential_lr(lr: Level, gamma: float) -> Schedule:
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
    return lambda step: as_float(lr) * power(gamma, jnp.asarray(step))


def step_lr(lr: Level, step_size: int, gamma: float = 0.1) -> Schedule:
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
    step_size = as_steps("step_lr", "step_size", step_size)
    return lambda step: as_float(lr) * power(gamma, jnp.asarray(step) // step_size)


def multi_step_lr(lr: Level, milestones: Iterable[int], gamma: float = 0.1) -> Schedule:
    """`lr`, multiplied by `gamma` at each milestone.

    Args:
        lr: Base learning rate.
        milestones: Steps at which the rate drops, in any order; one given twice drops twice.
        gamma: Factor of each drop.

    Returns:
        A function of the step.

    Raises:
        ValueError: A milestone that is negative or not whole.

    Example:
        >>> [float(multi_step_lr(1.0, [1, 3], 0.5)(step)) for step in range(4)]
        [1.0, 0.5, 0.5, 0.25]

    Source: torch.optim.lr_scheduler.MultiStepLR.
    """
    steps = [as_steps("multi_step_lr", "milestones", value, least=0) for value in milestones]

    def schedule(step) -> jax.Array:
        step = jnp.asarray(step)
        passed = jnp.sum(step[..., None] >= jnp.asarray(steps, step.dtype), -1)
        return as_float(lr) * power(gamma, passed)

    return schedule


def lambda_lr(lr: Level, lr_lambda: Callable[[Any], Any]) -> Schedule:
    """`lr * lr_lambda(step)`.

    Args:
        lr: Base learning rate.
        lr_lambda: The factor as a function of the step. The step is traced: choose with
            `jnp.where` instead of `if`.

    Returns:
        A function of the step.

    Raises:
        TypeError: lr_lambda is not a function.

    Example:
        >>> [float(lambda_lr(1.0, lambda step: 0.5**step)(step)) for step in range(3)]
        [1.0, 0.5, 0.25]

    Source: torch.optim.lr_scheduler.LambdaLR. For a list of functions, one per group, give each
    group of `fx.optim.groups` its own schedule.
    """
    _check_function("lambda_lr", lr_lambda)
    return lambda step: as_float(lr) * call(lr_lambda, step)


def multiplicative_lr(
    lr: Level, lr_lambda: Callable[[Any], Any], *, total_iters: int | None = None
) -> Schedule:
    """`lr` times the product of `lr_lambda(1), lr_lambda(2), ... lr_lambda(step)`.

    Args:
        lr: Base learning rate.
        lr_lambda: The factor of each step, as a function of the step.
        total_iters: Steps with a factor; the rate is constant after. The products are then
            computed once, now, with Python integers. None: there is no end, the step is traced,
            and each evaluation multiplies anew, which takes time in proportion to the step; so
            count epochs (`per_epoch`) or give a total_iters.

    Returns:
        A function of the step.

    Raises:
        ValueError: total_iters below 1.
        TypeError: lr_lambda is not a function.

    Example:
        >>> [float(multiplicative_lr(1.0, lambda step: 0.5)(step)) for step in range(3)]
        [1.0, 0.5, 0.25]

    Source: torch.optim.lr_scheduler.MultiplicativeLR, which multiplies the last rate; total_iters
    is ours, as a function of the step alone has no last rate.
    """
    _check_function("multiplicative_lr", lr_lambda)
    if total_iters is None:
        return lambda step: as_float(lr) * _product(lr_lambda, jnp.asarray(step))
    total_iters = as_steps("multiplicative_lr", "total_iters", total_iters)
    factors = [1.0, *(float(lr_lambda(step)) for step in range(1, total_iters + 1))]
    products = np.cumprod(factors)

    def schedule(step) -> jax.Array:
        return as_float(lr) * as_float(products)[jnp.minimum(jnp.asarray(step), total_iters)]

    return schedule


def cosine_annealing_lr(lr: Level, T_max: int, eta_min: float = 0.0) -> Schedule:
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
    T_max = as_steps("cosine_annealing_lr", "T_max", T_max)

    def schedule(step) -> jax.Array:
        phase = jnp.asarray(step) % (2 * T_max)
        return eta_min + (as_float(lr) - eta_min) * falling_cosine(phase, T_max)

    return schedule


def _product(function: Callable[[Any], Any], step: jax.Array) -> jax.Array:
    def multiply(n: jax.Array, product: jax.Array) -> jax.Array:
        return product * call(function, n)

    return jax.lax.fori_loop(1, step + 1, multiply, as_float(1.0))


def _check_function(schedule: str, function: Any) -> None:
    if not callable(function):
        raise TypeError(
            f"{schedule}: expected lr_lambda as a function of the step, got "
            f"{type(function).__name__}"
        )
