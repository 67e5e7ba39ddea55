"""Initialisers: hashable functions ``(key, shape, dtype) -> array`` with torch's distributions.

Source: torch.nn.init. Its functions fill a tensor in place; these return an initialiser, which a
declaration holds and `Module.init` calls with a key.
"""

import math
import numbers
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fx.nn import draws
from fx.nn.init_rules import by_name as by_name
from fx.nn.init_rules import by_type as by_type


class Initialiser:
    """A pure function of a key, a shape and a dtype that compares by its settings and pickles."""

    __slots__ = ("function", "settings")
    function: Callable[..., jax.Array]
    settings: tuple[tuple[str, Any], ...]

    def __init__(self, function: Callable[..., jax.Array], **settings: Any):
        object.__setattr__(self, "function", function)
        object.__setattr__(self, "settings", tuple(settings.items()))

    def __call__(self, key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32):
        """Make the array."""
        return self.function(key, tuple(shape), dtype, **dict(self.settings))

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"an initialiser is frozen: {name} cannot be changed")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Initialiser) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def _identity(self) -> tuple:
        return self.function, self.settings

    def __reduce__(self) -> tuple:
        return _restore, self._identity()

    def __repr__(self) -> str:
        name = self.function.__name__.strip("_")
        shown = ", ".join(f"{k}={v!r}" for k, v in self.settings)
        return f"{name}({shown})" if shown else name


def _restore(function: Callable[..., jax.Array], settings: tuple) -> Initialiser:
    return Initialiser(function, **dict(settings))


class _Frozen:
    """An array as a hashable value: dtype, shape and bytes."""

    __slots__ = ("array",)

    def __init__(self, array: np.ndarray):
        self.array = np.array(array)
        self.array.flags.writeable = False

    def _identity(self) -> tuple:
        return self.array.dtype, self.array.shape, self.array.tobytes()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Frozen) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def __repr__(self) -> str:
        return f"array of shape {self.array.shape}"


def _zeros(key: Any, shape: tuple, dtype: Any) -> jax.Array:
    return jnp.zeros(shape, dtype)


def _ones(key: Any, shape: tuple, dtype: Any) -> jax.Array:
    return jnp.ones(shape, dtype)


zeros = Initialiser(_zeros)
ones = Initialiser(_ones)


def _constant(key: Any, shape: tuple, dtype: Any, value: Any) -> jax.Array:
    value = value.array if isinstance(value, _Frozen) else value
    return jnp.broadcast_to(jnp.asarray(value, dtype), shape)


def constant(val: Any) -> Initialiser:
    """A number everywhere, or a given array.

    Args:
        val: a number, or an array that broadcasts to the shape.

    Example:
        >>> from fx.nn import init
        >>> init.constant(0.5)(None, (2,)).tolist()
        [0.5, 0.5]
    """
    if isinstance(val, str) or val is None:
        raise TypeError(f"init.constant: expected a number or an array, got {val!r}")
    return Initialiser(_constant, value=_Frozen(val) if hasattr(val, "__array__") else val)


def _check_numbers(where: str, least: float = -math.inf, **given: Any) -> None:
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            raise TypeError(f"init.{where}: expected {name} to be a number, got {value!r}")
        if value < least:
            raise ValueError(f"init.{where}: expected {name} of {least} or more, got {value}")


def _uniform(key: Any, shape: tuple, dtype: Any, a: float, b: float) -> jax.Array:
    return draws.uniform(key, shape, dtype, a, b)


def uniform(a: float = 0.0, b: float = 1.0) -> Initialiser:
    """Uniform on [a, b). Raises ValueError where a is above b."""
    _check_numbers("uniform", a=a, b=b)
    if a > b:
        raise ValueError(f"init.uniform: expected a <= b, got [{a}, {b})")
    return Initialiser(_uniform, a=a, b=b)


def _normal(key: Any, shape: tuple, dtype: Any, mean: float = 0.0, std: float = 1.0) -> jax.Array:
    return mean + std * draws.normal(key, shape, dtype)


def normal(mean: float = 0.0, std: float = 1.0) -> Initialiser:
    """Normal with a mean and a standard deviation. Raises ValueError where std is below 0."""
    _check_numbers("normal", mean=mean)
    _check_numbers("normal", 0, std=std)
    given = {"mean": mean, "std": std}
    return Initialiser(_normal, **{k: v for k, v in given.items() if v != {"mean": 0, "std": 1}[k]})


def _trunc_normal(
    key: Any, shape: tuple, dtype: Any, mean: float, std: float, a: float, b: float
) -> jax.Array:
    low, high = (a - mean) / std, (b - mean) / std
    return mean + std * draws.truncated_normal(key, low, high, shape, dtype)


def trunc_normal(
    mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0
) -> Initialiser:
    """Normal, cut off to [a, b] (values, not standard deviations, as in torch).

    Raises:
        ValueError: std not above 0, or a above b.
    """
    _check_numbers("trunc_normal", mean=mean, std=std, a=a, b=b)
    if std <= 0 or a > b:
        raise ValueError(f"init.trunc_normal: expected std > 0 and a <= b, got {std}, [{a}, {b}]")
    return Initialiser(_trunc_normal, mean=mean, std=std, a=a, b=b)


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor by which a nonlinearity asks for larger weights.

    Args:
        nonlinearity: "linear", "conv1d" to "conv3d", "sigmoid", "tanh", "relu", "leaky_relu" or
            "selu".
        param: the negative slope of leaky_relu (0.01 if None).

    Raises:
        ValueError: another name.

    Example:
        >>> from fx.nn import init
        >>> round(init.calculate_gain("relu"), 4)
        1.4142
    """
    if nonlinearity == "leaky_relu":
        if param is not None:
            _check_numbers("calculate_gain", param=param)
        return math.sqrt(2.0 / (1 + (0.01 if param is None else param) ** 2))
    products = [f"conv{t}{d}d" for t in ("", "_transpose") for d in (1, 2, 3)]
    gains = {
        **dict.fromkeys(["linear", "sigmoid", *products], 1.0),
        "tanh": 5.0 / 3,
        "relu": math.sqrt(2.0),
        "selu": 0.75,
    }
    if nonlinearity not in gains:
        known = ", ".join([*gains, "leaky_relu"])
        raise ValueError(f"calculate_gain: expected one of {known}; got {nonlinearity!r}")
    return gains[nonlinearity]


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight [out, in, ...].

    Raises:
        ValueError: fewer than two dimensions.
    """
    if len(shape) < 2:
        raise ValueError(
            f"init: expected a weight of two or more dimensions to know its fans, got {shape}; "
            "use nn.init.zeros or nn.init.normal for a bias"
        )
    receptive = math.prod(shape[2:])
    return shape[1] * receptive, shape[0] * receptive


def _kaiming(
    key: Any, shape: tuple, dtype: Any, a: float, mode: str, nonlinearity: str, draw: str
) -> jax.Array:
    fan = fans(shape)[mode == "fan_out"]
    if fan == 0:
        return jnp.zeros(shape, dtype)
    return _draw(key, shape, dtype, calculate_gain(nonlinearity, a) / math.sqrt(fan), draw)


def _draw(key: Any, shape: tuple, dtype: Any, std: float, draw: str) -> jax.Array:
    if draw == "normal":
        return std * draws.normal(key, shape, dtype)
    bound = math.sqrt(3.0) * std
    return draws.uniform(key, shape, dtype, -bound, bound)


def _kaiming_initialiser(a: float, mode: str, nonlinearity: str, draw: str) -> Initialiser:
    if str(mode).lower() not in ("fan_in", "fan_out"):
        raise ValueError(f'kaiming_{draw}: expected mode "fan_in" or "fan_out", got {mode!r}')
    calculate_gain(nonlinearity, a)
    return Initialiser(_kaiming, a=a, mode=mode.lower(), nonlinearity=nonlinearity, draw=draw)


def kaiming_uniform(
    a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"
) -> Initialiser:
    """He initialisation, uniform.

    Args:
        a: negative slope of the leaky_relu that follows.
        mode: "fan_in" keeps the variance forward, "fan_out" backward.
        nonlinearity: what follows; see `calculate_gain`.

    Raises:
        ValueError: an unknown mode or nonlinearity.

    Source: He et al. 2015, section 2.2.
    """
    return _kaiming_initialiser(a, mode, nonlinearity, "uniform")


def kaiming_normal(
    a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"
) -> Initialiser:
    """He initialisation, normal; arguments as in `kaiming_uniform`."""
    return _kaiming_initialiser(a, mode, nonlinearity, "normal")


def _xavier(key: Any, shape: tuple, dtype: Any, gain: float, draw: str) -> jax.Array:
    return _draw(key, shape, dtype, gain * math.sqrt(2.0 / sum(fans(shape))), draw)


def xavier_uniform(gain: float = 1.0) -> Initialiser:
    """Glorot initialisation, uniform. Source: Glorot and Bengio 2010, equation 16."""
    _check_numbers("xavier_uniform", 0, gain=gain)
    return Initialiser(_xavier, gain=gain, draw="uniform")


def xavier_normal(gain: float = 1.0) -> Initialiser:
    """Glorot initialisation, normal. Source: Glorot and Bengio 2010, equation 12."""
    _check_numbers("xavier_normal", 0, gain=gain)
    return Initialiser(_xavier, gain=gain, draw="normal")


def _orthogonal(key: Any, shape: tuple, dtype: Any, gain: float) -> jax.Array:
    fans(shape)  # raises where a matrix is not what was asked for
    rows, columns = shape[0], math.prod(shape[1:])
    wide = jnp.float32 if jnp.finfo(dtype).bits < 32 else dtype  # no QR in half precision
    flat = draws.normal(key, (max(rows, columns), min(rows, columns)), wide)
    q, r = jnp.linalg.qr(flat)
    q = q * jnp.sign(jnp.diagonal(r))  # makes the distribution uniform (Mezzadri 2006)
    return (gain * (q if rows >= columns else q.T)).reshape(shape).astype(dtype)


def orthogonal(gain: float = 1.0) -> Initialiser:
    """A (semi-)orthogonal matrix, dimensions after the first flattened (Saxe et al. 2013)."""
    _check_numbers("orthogonal", gain=gain)
    return Initialiser(_orthogonal, gain=gain)


def _eye(key: Any, shape: tuple, dtype: Any) -> jax.Array:
    if len(shape) != 2:
        raise ValueError(f"eye: expected a shape of two dimensions, got {shape}")
    return jnp.eye(*shape, dtype=dtype)


eye = Initialiser(_eye)


def _dirac(key: Any, shape: tuple, dtype: Any, groups: int) -> jax.Array:
    if len(shape) not in (3, 4, 5):
        raise ValueError(f"dirac: expected a convolution weight of 3 to 5 dimensions, got {shape}")
    if groups < 1 or shape[0] % groups:
        raise ValueError(f"dirac: expected {shape[0]} output channels in {groups} equal groups")
    weight = np.zeros(shape)
    size, centre = shape[0] // groups, tuple(n // 2 for n in shape[2:])
    for group in range(groups):
        for i in range(min(size, shape[1])):
            weight[(group * size + i, i, *centre)] = 1
    return jnp.asarray(weight, dtype)


def dirac(groups: int = 1) -> Initialiser:
    """A convolution that passes its input channels through."""
    return Initialiser(_dirac, groups=groups)


def _sparse(key: Any, shape: tuple, dtype: Any, sparsity: float, std: float) -> jax.Array:
    if len(shape) != 2:
        raise ValueError(f"sparse: expected a weight of two dimensions, got {shape}")
    first, second = jax.random.split(key)
    ranks = jnp.argsort(jnp.argsort(jax.random.uniform(first, shape), 0), 0)  # in each column
    values = std * draws.normal(second, shape, dtype)
    return jnp.where(ranks < math.ceil(sparsity * shape[0]), jnp.zeros((), dtype), values)


def sparse(sparsity: float, std: float = 0.01) -> Initialiser:
    """Normal, but for a share `sparsity` of each column that is 0 (Martens 2010)."""
    _check_numbers("sparse", 0, std=std)
    return Initialiser(_sparse, sparsity=sparsity, std=std)


def __getattr__(name: str) -> Any:
    if name.endswith("_") and name[:-1] in globals():
        raise AttributeError(
            f"nn.init.{name} would change an array in place; nn.init.{name[:-1]} makes an "
            "initialiser for nn.Parameter(shape, init), and nn.init.by_type changes a model's"
        )
    raise AttributeError(f"module 'fx.nn.init' has no attribute {name!r}")
