"""Activation functions as layers.

As in torch.nn, whose deprecated arguments are left out. `inplace` is accepted and has no effect.
"""

import jax

from fx import functional as F
from fx.nn import init as initialisers
from fx.nn.checks import no_device, positive, shape_error
from fx.nn.module import Module
from fx.nn.parameter import Parameter


class _Activation(Module):
    """Prints the settings that a subclass names, and `inplace` where it is set."""

    _shown: tuple[str, ...] = ()

    def extra_repr(self) -> str:
        shown = [f"{name}={getattr(self, name)!r}" for name in self._shown]
        return ", ".join(shown + ["inplace=True"] * bool(getattr(self, "inplace", False)))


class ReLU(_Activation):
    """max(x, 0), elementwise.

    Args:
        inplace: accepted, no effect.

    Example:
        >>> import jax.numpy as jnp
        >>> from fx import nn
        >>> nn.ReLU()(jnp.array([-1.0, 2.0])).tolist()
        [0.0, 2.0]

    Source: torch.nn.ReLU.
    """

    def __init__(self, inplace: bool = False):
        self.inplace = inplace

    def forward(self, input: jax.Array) -> jax.Array:
        """Any shape and dtype in, the same out."""
        return F.relu(input)


class ReLU6(_Activation):
    """min(max(x, 0), 6), elementwise. Source: torch.nn.ReLU6."""

    min_val, max_val = 0.0, 6.0

    def __init__(self, inplace: bool = False):
        self.inplace = inplace

    def forward(self, input: jax.Array) -> jax.Array:
        """Any shape in, the same out."""
        return F.relu6(input)


class LeakyReLU(_Activation):
    """X where x > 0, negative_slope * x elsewhere. Source: torch.nn.LeakyReLU."""

    _shown = ("negative_slope",)

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False):
        self.negative_slope, self.inplace = negative_slope, inplace

    def forward(self, input: jax.Array) -> jax.Array:
        """Any shape in, the same out."""
        return F.leaky_relu(input, self.negative_slope)


class PReLU(_Activation):
    """Leaky ReLU whose slope is learned.

    Args:
        num_parameters: 1, or the number of channels.
        init: the slope to begin with.
        device: must be None.
        dtype: of the slope; float32 unless told.

    Raises:
        ValueError: num_parameters is negative, or device is not None.

    Source: torch.nn.PReLU.
    """

    _shown = ("num_parameters",)

    def __init__(
        self, num_parameters: int = 1, init: float = 0.25, device: None = None, dtype=None
    ):
        no_device(self, device)
        positive(self, 0, num_parameters=num_parameters)
        self.num_parameters = num_parameters
        self.weight = Parameter((num_parameters,), initialisers.constant(init), dtype)

    def forward(self, input: jax.Array) -> jax.Array:
        """[N, C, ...], or [N] of one channel, in, the same out."""
        channels = input.shape[1] if input.ndim > 1 else 1
        if self.num_parameters not in (1, channels):
            expected = f"[N, {self.num_parameters}, ...]"
            raise shape_error(self, expected, input, f"set num_parameters={channels}")
        return F.prelu(input, self.weight)


class ELU(_Activation):
    """X where x > 0, alpha * (exp(x) - 1) elsewhere. Source: torch.nn.ELU."""

    _shown = ("alpha",)

    def __init__(self, alpha: float = 1.0, inplace: bool = False):
        self.alpha, self.inplace = alpha, inplace

    def forward(self, input: jax.Array) -> jax.Array:
        """Any shape in, the same out."""
        return F.elu(input, self.alpha)


class CELU(_Activation):
    """X where x > 0, alpha * (exp(x / alpha) - 1) elsewhere. Source: torch.nn.CELU."""

    _shown = ("alpha",)

    def __init__(self, alpha: float = 1.0, inplace: bool = False):
        self.alpha, self.inplace = alpha, inplace

    def forward(self, input: jax.Array) -> jax.Array:
        """Any shape in, the same out."""
        return F.celu(input, self.alpha)


class SELU(_Activation):
    """Scaled ELU that keeps mean 0 and variance 1. Source: torch.nn.SELU."""

    def __init__(self, inplace: bool = False):
        self.inplace = inplace

    def forward(self, input: jax.Array) -> jax.Array:
        """Any shape in, the same out."""
        return F.selu(input)


class GELU(_Activation):
    """x * Phi(x), Phi being the normal distribution function.

    Args:
        approximate: "none" for the exact function, "tanh" for its approximation.

    Raises:
        ValueError: at the first call, if approximate is neither.

    Source: torch.nn.GELU. `jax.nn.gelu` approximates by default; this does not.
    """

    _shown = ("approximate",)

    def __init__(self, approximate: str = "none"):
        self.approximate = approximate

    def forward(self, input: jax.Array) -> jax.Array:
        """Any shape in, the same out."""
        return F.gelu(input, self.approximate)


class SiLU(_Activation):
    """x * sigmoid(x), elementwise. Source: torch.nn.SiLU."""

    def __init__(self, inplace: bool = False):
        self.inplace = inplace

    def forward(self, input: jax.Array) -> jax.Array:
        """Any shape in, the same out."""
        return F.silu(input)


class Mish(_Activation):
    """x * tanh(softplus(x)), elementwise. Source: torch.nn.Mish."""

    def __init__(self, inplace: bool = False):
        self.inplace = inplace

    def forward(self, input: jax.Array) -> jax.Array:
        """Any shape in, the same out."""
        return F.mish(input)


class Sigmoid(_Activation):
    """1 / (1 + exp(-x)), elementwise. Source: torch.nn.Sigmoid."""

    def forward(self, input: jax.Array) -> jax.Array:
        """Any shape in, the same out."""
        return F.sigmoid(input)


class LogSigmoid(_Activation):
    """log(sigmoid(x)), without overflow. Source: torch.nn.LogSigmoid."""

    def forward(self, input: jax.Array) -> jax.Array:
        """Any shape in, the same out."""
        return F.logsigmoid(input)


class Hardsigmoid(_Activation):
    """x / 6 + 1 / 2, clipped to [0, 1]. Source: torch.nn.Hardsigmoid."""

    def __init__(self, inplace: bool = False):
        """Take `inplace`, which torch does not print here."""

    def forward(self, input: jax.Array) -> jax.Array:
        """Any shape in, the same out."""
        return F.hardsigmoid(input)


class Hardswish(_Activation):
    """x * hardsigmoid(x). Source: torch.nn.Hardswish."""

    def __init__(self, inplace: bool = False):
        """Take `inplace`, which torch does not print here."""

    def forward(self, input: jax.Array) -> jax.Array:
        """Any shape in, the same out."""
        return F.hardswish(input)


class Tanh(_Activation):
    """Hyperbolic tangent, elementwise. Source: torch.nn.Tanh."""

    def forward(self, input: jax.Array) -> jax.Array:
        """Any shape in, the same out."""
        return F.tanh(input)


class Hardtanh(_Activation):
    """Clips to [min_val, max_val].

    Raises:
        ValueError: max_val is not greater than min_val.

    Source: torch.nn.Hardtanh.
    """

    _shown = ("min_val", "max_val")

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False):
        if max_val <= min_val:
            raise ValueError(
                f"Hardtanh: expected max_val greater than min_val, got {max_val} and {min_val}"
            )
        self.min_val, self.max_val, self.inplace = min_val, max_val, inplace

    def forward(self, input: jax.Array) -> jax.Array:
        """Any shape in, the same out."""
        return F.hardtanh(input, self.min_val, self.max_val)


class Softplus(_Activation):
    """log(1 + exp(beta * x)) / beta, x itself above the threshold. Source: torch.nn.Softplus."""

    _shown = ("beta", "threshold")

    def __init__(self, beta: float = 1.0, threshold: float = 20.0):
        self.beta, self.threshold = beta, threshold

    def forward(self, input: jax.Array) -> jax.Array:
        """Any shape in, the same out."""
        return F.softplus(input, self.beta, self.threshold)


class Softsign(_Activation):
    """x / (1 + |x|), elementwise. Source: torch.nn.Softsign."""

    def forward(self, input: jax.Array) -> jax.Array:
        """Any shape in, the same out."""
        return F.softsign(input)


class Tanhshrink(_Activation):
    """x - tanh(x), elementwise. Source: torch.nn.Tanhshrink."""

    def forward(self, input: jax.Array) -> jax.Array:
        """Any shape in, the same out."""
        return F.tanhshrink(input)


class Hardshrink(_Activation):
    """0 where |x| <= lambd, x elsewhere. Source: torch.nn.Hardshrink."""

    def __init__(self, lambd: float = 0.5):
        self.lambd = lambd

    def forward(self, input: jax.Array) -> jax.Array:
        """Any shape in, the same out."""
        return F.hardshrink(input, self.lambd)

    def extra_repr(self) -> str:
        """The bare number, as torch prints it."""
        return str(self.lambd)


class Softshrink(_Activation):
    """Moves x towards 0 by lambd, and to 0 where |x| <= lambd. Source: torch.nn.Softshrink."""

    def __init__(self, lambd: float = 0.5):
        self.lambd = lambd

    def forward(self, input: jax.Array) -> jax.Array:
        """Any shape in, the same out."""
        return F.softshrink(input, self.lambd)

    def extra_repr(self) -> str:
        """The bare number, as torch prints it."""
        return str(self.lambd)


class Threshold(_Activation):
    """X where x > threshold, value elsewhere. Source: torch.nn.Threshold."""

    _shown = ("threshold", "value")

    def __init__(self, threshold: float, value: float, inplace: bool = False):
        self.threshold, self.value, self.inplace = threshold, value, inplace

    def forward(self, input: jax.Array) -> jax.Array:
        """Any shape in, the same out."""
        return F.threshold(input, self.threshold, self.value)


class GLU(_Activation):
    """a * sigmoid(b), where a and b are the halves of the input along dim. Source: torch.nn.GLU."""

    _shown = ("dim",)

    def __init__(self, dim: int = -1):
        self.dim = dim

    def forward(self, input: jax.Array) -> jax.Array:
        """Half as long along dim."""
        return F.glu(input, self.dim)


class Softmax(_Activation):
    """exp(x) / sum(exp(x)) along one axis.

    Args:
        dim: the axis to sum over; None is guessed as torch does, with a warning: see
            `fx.functional.softmax`.

    Source: torch.nn.Softmax.
    """

    _shown = ("dim",)

    def __init__(self, dim: int | None = None):
        self.dim = dim

    def forward(self, input: jax.Array) -> jax.Array:
        """Any shape in, the same out."""
        return F.softmax(input, self.dim)


class LogSoftmax(_Activation):
    """log(softmax(x)) along one axis, without overflow; `dim` as in `Softmax`."""

    _shown = ("dim",)

    def __init__(self, dim: int | None = None):
        self.dim = dim

    def forward(self, input: jax.Array) -> jax.Array:
        """Any shape in, the same out."""
        return F.log_softmax(input, self.dim)


class Softmin(_Activation):
    """Softmax of -x; `dim` as in `Softmax`."""

    _shown = ("dim",)

    def __init__(self, dim: int | None = None):
        self.dim = dim

    def forward(self, input: jax.Array) -> jax.Array:
        """Any shape in, the same out."""
        return F.softmin(input, self.dim)


class Softmax2d(_Activation):
    """Softmax over the channels of [N, C, H, W]. Source: torch.nn.Softmax2d."""

    def forward(self, input: jax.Array) -> jax.Array:
        """[N, C, H, W] or [C, H, W] in, the same out."""
        if input.ndim not in (3, 4):
            raise shape_error(self, "[N, C, H, W] or [C, H, W]", input, "use nn.Softmax(dim)")
        return F.softmax(input, -3)
