"""RMSprop: steps by the average of squared gradients."""

import optax

from fx.optim.complex_weights import chain
from fx.optim.learning_rate import scale_by_learning_rate
from fx.optim.parts import Rate, check, given, gradient_links


def rmsprop(
    lr: Rate = 1e-2,
    alpha: float = 0.99,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    momentum: float = 0.0,
    centered: bool = False,
    *,
    maximize: bool = False,
) -> optax.GradientTransformation:
    """Gradients over the root of their average square.

    Args:
        lr: Learning rate, or a schedule.
        alpha: Decay of the average.
        eps: Added to the root, outside of it.
        weight_decay: L2 penalty, added to the gradient.
        momentum: Share of the last update that stays.
        centered: Divide by the standard deviation instead of the root of the average square.
        maximize: Climb instead of descend.

    Returns:
        An optax transformation.

    Raises:
        ValueError: A negative number.

    Example:
        >>> optimizer = rmsprop(1e-3, momentum=0.9)

    Source: torch.optim.RMSprop, with keyword-only `maximize`. `optax.rmsprop` decays by 0.9 and
    adds eps inside the root.
    """
    check("rmsprop", lr=lr, alpha=alpha, eps=eps, weight_decay=weight_decay, momentum=momentum)
    scale = optax.scale_by_stddev if centered else optax.scale_by_rms
    links = [*gradient_links(weight_decay, maximize), scale(alpha, eps, eps_in_sqrt=False)]
    if given(momentum):
        links.append(optax.trace(momentum))
    return chain(*links, scale_by_learning_rate(lr))
