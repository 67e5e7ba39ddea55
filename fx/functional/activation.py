"""Activation functions, elementwise and over one axis.

Every `inplace` argument is accepted so that torch code runs as it stands, and has no effect: arrays
are immutable, and XLA reuses the memory where it can. Functions are plain `def`s, so they pickle
and compare as part of a module. At kinks the gradient is torch's (0 for relu at 0, for example).
What torch has for floating inputs alone raises TypeError for integers, relu and the like for bool.
"""

import math
import warnings

import jax
import jax.numpy as jnp

from fx.functional.dtypes import accumulate, as_array, check_same_dtype
from fx.functional.elementwise import floating, in_float32, of_floats, of_numbers, rounded
from fx.functional.exponential import expm1
from fx.functional.exponential import softplus as stable_softplus
from fx.functional.layout import is_whole, pointwise

SELU_ALPHA = 1.6732632423543772848170429916717
SELU_SCALE = 1.0507009873554804934193349852946


@of_numbers
def relu(input: jax.Array, inplace: bool = False) -> jax.Array:
    """Rectified linear unit: max(x, 0).

    Args:
        input: [...], any dtype.
        inplace: accepted, no effect.

    Returns:
        [...], the input's dtype.

    Example:
        >>> import jax.numpy as jnp
        >>> relu(jnp.array([-1.0, 2.0])).tolist()
        [0.0, 2.0]
    """
    return jax.nn.relu(input)


@of_numbers
def hardtanh(
    input: jax.Array, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> jax.Array:
    """Clips to [min_val, max_val]; the gradient is 0 at both ends.

    Raises:
        ValueError: min_val is greater than max_val.
    """
    if min_val > max_val:
        raise ValueError(f"hardtanh: expected min_val <= max_val, got {min_val} and {max_val}")
    input = jnp.asarray(input)
    low, high = jnp.asarray(min_val, input.dtype), jnp.asarray(max_val, input.dtype)
    return jnp.where(input <= low, low, jnp.where(input >= high, high, input))


@pointwise
def relu6(input: jax.Array, inplace: bool = False) -> jax.Array:
    """Returns min(max(x, 0), 6)."""
    return hardtanh(input, 0, 6)


@of_floats
def leaky_relu(input: jax.Array, negative_slope: float = 0.01, inplace: bool = False) -> jax.Array:
    """Returns x where x > 0, negative_slope * x elsewhere; at 0 the derivative is the slope."""
    input = jnp.asarray(input)
    below = (negative_slope * accumulate(input, "leaky_relu")).astype(input.dtype)
    return jnp.where(input > 0, input, below)


def prelu(input: jax.Array, weight: jax.Array) -> jax.Array:
    """Leaky ReLU with a learned slope.

    Args:
        input: [N, C, ...], or [N], which has one channel.
        weight: [1] for one slope, or [C] for one per channel.

    Raises:
        TypeError: the weight is not of the input's dtype.
        ValueError: the weight is neither [1] nor one slope per channel.

    Source: torch.nn.functional.prelu. At 0 the derivative is the slope, its own 1; in torch 0.
    """
    input, weight = jnp.asarray(input), jnp.asarray(weight)
    check_same_dtype("prelu", input=input, weight=weight)
    channels = input.shape[1] if input.ndim > 1 else 1
    if weight.ndim > 1 or weight.size not in (1, channels):
        raise ValueError(
            f"prelu: expected weight [1] or [{channels}], got {list(weight.shape)}; "
            "give one slope, or one per channel"
        )
    if weight.size == 1:
        slope = weight.reshape(())
    else:
        slope = weight.reshape(-1, *[1] * (input.ndim - 2))  # [C, 1...]
    wide = accumulate(input, "prelu")  # in which the gradient to the weight is summed, too
    # Of what is not multiplied the slope sees a 0: its gradient would be NaN of an infinity.
    below = slope.astype(wide.dtype) * jnp.where(wide > 0, 0, wide)
    return jnp.where(wide > 0, wide, below).astype(input.dtype)


@of_floats
@in_float32
def elu(input: jax.Array, alpha: float = 1.0, inplace: bool = False) -> jax.Array:
    """Returns x where x > 0, alpha * (exp(x) - 1) elsewhere."""
    input = jnp.asarray(input)
    # At 0 it is alpha * x: the first derivative of one side, the second of none, as in torch.
    below = jnp.where(input < 0, expm1(jnp.where(input < 0, input, 0)), input)
    return jnp.where(input > 0, input, alpha * below)


@of_floats
@in_float32
def celu(input: jax.Array, alpha: float = 1.0, inplace: bool = False) -> jax.Array:
    """Returns x where x > 0, alpha * (exp(x / alpha) - 1) elsewhere.

    Raises:
        ValueError: alpha is 0.
    """
    if alpha == 0:
        raise ValueError("celu: expected alpha other than 0, got 0; relu is what it tends to")
    input = jnp.asarray(input)
    below = jnp.where(input < 0, input, 0)
    return jnp.where(input < 0, alpha * expm1(below / alpha), input)


@of_floats
@in_float32
def selu(input: jax.Array, inplace: bool = False) -> jax.Array:
    """Scaled ELU with the constants that keep mean 0 and variance 1."""
    return SELU_SCALE * elu(input, SELU_ALPHA)


@of_floats
def gelu(input: jax.Array, approximate: str = "none") -> jax.Array:
    """Gaussian error linear unit: x * Phi(x), Phi being the normal distribution function.

    Args:
        input: [...], floating.
        approximate: "none" for the exact function (the default, as in torch), "tanh" for its
            approximation.

    Raises:
        ValueError: approximate is neither "none" nor "tanh".

    Example:
        >>> import jax.numpy as jnp
        >>> round(float(gelu(jnp.array(1.0))), 4)
        0.8413

    Source: torch.nn.functional.gelu. `jax.nn.gelu` approximates by default; this does not.
    """
    if approximate not in ("none", "tanh"):
        raise ValueError(
            f'gelu: expected approximate "none" or "tanh", got {approximate!r}; '
            '"none" is the exact function'
        )
    return _gelu_erf(input) if approximate == "none" else _gelu_tanh(jnp.asarray(input))


@in_float32
def _gelu_erf(x):
    return jax.nn.gelu(x, approximate=False)


@jax.custom_jvp
def _gelu_tanh(x):
    """In float32, as powers of float16 and bfloat16 would lose digits; its slope is kept in x's."""
    wide, share, _ = _gelu_terms(x)
    return (wide * share).astype(x.dtype)


@_gelu_tanh.defjvp
def _gelu_tanh_jvp(primals, tangents):
    (x,), (dx,) = primals, tangents
    wide, share, inner = _gelu_terms(x)
    steep = 2 * math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * wide**2)
    # Of two exponentials XLA would keep a float32 array for the gradient of a bfloat16 one.
    rest = 1 - share if x.dtype.itemsize < 4 else jax.nn.sigmoid(-2 * inner)
    slope = share + wide * share * rest * steep
    return _gelu_tanh(x), slope.astype(x.dtype) * dx


def _gelu_terms(x):
    """(1 + tanh(u)) / 2 is sigmoid(2 u), whose derivative does not cancel as 1 - tanh^2 does."""
    wide = accumulate(x, "gelu")
    inner = math.sqrt(2 / math.pi) * (wide + 0.044715 * wide**3)
    return wide, jax.nn.sigmoid(2 * inner), inner


@of_floats
@in_float32
def silu(input: jax.Array, inplace: bool = False) -> jax.Array:
    """Sigmoid linear unit: x * sigmoid(x)."""
    return jax.nn.silu(input)


@of_floats
@in_float32
def mish(input: jax.Array, inplace: bool = False) -> jax.Array:
    """Returns x * tanh(softplus(x)), the hyperbolic tangent as a quotient of powers of exp(-|x|).

    Its derivative, 1 - tanh^2, would cancel for large x.
    """
    small = jnp.exp(jnp.where(input > 0, -input, input))
    over, under = 1 + 2 * small, small * (small + 2)  # where x is positive, where it is not
    square = 2 * jnp.square(small)
    return input * jnp.where(input > 0, over / (over + square), under / (under + 2))


@pointwise
@in_float32
def sigmoid(input: jax.Array) -> jax.Array:
    """Logistic function: 1 / (1 + exp(-x)); of integers in float32."""
    return jax.nn.sigmoid(floating(input))


@pointwise
def tanh(input: jax.Array) -> jax.Array:
    """Hyperbolic tangent, elementwise."""
    return jnp.tanh(input)


@of_floats
@in_float32
def hardsigmoid(input: jax.Array, inplace: bool = False) -> jax.Array:
    """Returns x / 6 + 1 / 2, clipped to [0, 1]; the gradient is 0 at both ends, and of NaN."""
    input = jnp.asarray(input)
    line = input / 6 + 0.5
    return jnp.where(jnp.abs(input) < 3, line, jax.lax.stop_gradient(jnp.clip(line, 0, 1)))


@of_floats
@in_float32
def hardswish(input: jax.Array, inplace: bool = False) -> jax.Array:
    """Returns x * hardsigmoid(x), with torch's gradient at -3 (0) and 3 (1)."""
    input = jnp.asarray(input)
    zero = jnp.zeros((), input.dtype)
    middle = jnp.clip(input, -3, 3)  # of infinities what is not chosen would have the gradient NaN
    return jnp.where(input <= -3, zero, jnp.where(input >= 3, input, middle * (middle + 3) / 6))


@of_floats
@in_float32
def softplus(input: jax.Array, beta: float = 1.0, threshold: float = 20.0) -> jax.Array:
    """log(1 + exp(beta * x)) / beta, and x itself where beta * x > threshold."""
    input = jnp.asarray(input)
    scaled = beta * input
    return jnp.where(scaled > threshold, input, stable_softplus(scaled) / beta)


@of_floats
@in_float32
def logsigmoid(input: jax.Array) -> jax.Array:
    """log(sigmoid(x)), without overflow."""
    return -stable_softplus(-input)


@of_numbers
def softsign(input: jax.Array) -> jax.Array:
    """Returns x / (1 + |x|); of integers in float32."""
    x = floating(input)
    return x / (1 + jnp.abs(jnp.where(x == 0, 0, x)))  # |x| has the derivative 0 at 0, as in torch


@of_numbers
def threshold(input: jax.Array, threshold: float, value: float, inplace: bool = False) -> jax.Array:
    """Returns x where x > threshold, value elsewhere, both in x's dtype; NaN stays."""
    input = jnp.asarray(input)
    least, other = jnp.asarray(threshold, input.dtype), jnp.asarray(value, input.dtype)
    return jnp.where(input <= least, other, input)


def glu(input: jax.Array, dim: int = -1) -> jax.Array:
    """Gated linear unit: a * sigmoid(b), where a and b are the halves of the input along dim.

    Raises:
        TypeError: the input is not floating.
        ValueError: the axis has an odd length, or there is none.
    """
    accumulate(input, "glu")
    if not is_whole(dim) or not -input.ndim <= dim < input.ndim or input.shape[dim] % 2:
        raise ValueError(
            f"glu: expected an even length along dim {dim}, got {list(input.shape)}; "
            "the layer before it should give twice the wanted width"
        )
    a, b = jnp.split(input, 2, axis=dim)
    return rounded(_gated, a, b) if a.dtype.itemsize < 4 else _gated(a, b)


def _gated(a, b):
    return a * jax.nn.sigmoid(b)


def softmax(input: jax.Array, dim: int | None = None, *, dtype=None) -> jax.Array:
    """Probabilities: exp(x) / sum(exp(x)) along one axis.

    Args:
        input: [...], floating; float16 and bfloat16 are computed in float32.
        dim: the axis to sum over. None is torch's guess, and warns: 0 for inputs of 0, 1 and 3
            axes, 1 for others.
        dtype: to convert the input to first; None keeps its own.

    Returns:
        [...], the input's dtype, or dtype.

    Raises:
        ValueError: dim is no axis of the input.
        TypeError: the input is not floating and no dtype is given.

    Example:
        >>> import jax.numpy as jnp
        >>> softmax(jnp.zeros((2, 4)), dim=-1)[0].tolist()
        [0.25, 0.25, 0.25, 0.25]

    Source: torch.nn.functional.softmax.
    """
    return _over_axis(jax.nn.softmax, input, dim, dtype, "softmax")


def log_softmax(input: jax.Array, dim: int | None = None, *, dtype=None) -> jax.Array:
    """log(softmax(x)) along one axis, without overflow; arguments and errors as `softmax`."""
    return _over_axis(jax.nn.log_softmax, input, dim, dtype, "log_softmax")


def softmin(input: jax.Array, dim: int | None = None, *, dtype=None) -> jax.Array:
    """Softmax of -x; arguments and errors as `softmax`."""
    return _over_axis(lambda x, axis: jax.nn.softmax(-x, axis), input, dim, dtype, "softmin")


def _over_axis(function, input, dim, dtype, where):
    input = jnp.asarray(as_array(input, where), dtype)
    if dim is None:
        dim = 0 if input.ndim in (0, 1, 3) else 1
        warnings.warn(
            f"{where}: no dim is given for input {list(input.shape)}, and dim={dim} is taken, as "
            "torch guesses it; say which it is",
            stacklevel=3,
        )
    if not is_whole(dim) or not -max(input.ndim, 1) <= dim < max(input.ndim, 1):
        raise ValueError(
            f"{where}: expected dim within the {input.ndim} axes of {list(input.shape)}, got {dim}"
        )
    wide = accumulate(input, where)
    output = function(wide.reshape(-1), 0) if input.ndim == 0 else function(wide, dim)
    return output.reshape(input.shape).astype(input.dtype)
