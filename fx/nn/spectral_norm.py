"""Spectral normalisation: a weight divided by its largest singular value."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from fx.functional.distance import normalize
from fx.nn.module import Module
from fx.nn.parameter import Buffer, Parameter
from fx.nn.parametrize import FromWeight, computed, declared, itself, register_parametrization


class _SpectralNorm(Module):
    _u: Any
    _v: Any

    def __init__(self, weight: Parameter, name: str, n_power_iterations: int, dim: int, eps: float):
        axes = len(weight.shape)
        self.dim, self.eps = dim % axes, eps
        if axes > 1:
            self.n_power_iterations = n_power_iterations
            place = ("parametrizations", name, "0")
            for own, size in zip(("_u", "_v"), _sides(weight, self.dim)):
                begin = _Start(self.dim, eps, own == "_v", 15)
                begin = FromWeight(weight, (*place, own), name, begin)
                setattr(self, own, Buffer((size,), begin, weight.dtype))

    def forward(self, weight: jax.Array) -> jax.Array:
        if weight.ndim == 1:
            return normalize(weight, dim=0, eps=self.eps)
        matrix = _matrix(weight, self.dim)
        if self.training:
            for _ in range(self.n_power_iterations):
                self._u, self._v = _iterate(matrix, self._v, self.eps)
        return weight / _sigma(matrix, self._u, self._v)

    def right_inverse(self, value: jax.Array) -> jax.Array:
        return value


def spectral_norm(
    module: Module,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
) -> Any:
    """A copy of a layer whose parameter is divided by its largest singular value.

    Args:
        module: a layer; it stays as it is.
        name: of the parameter.
        n_power_iterations: of each call in training.
        eps: the least norm that is divided by.
        dim: the axis of the outputs; None is 0, and 1 for a transposed convolution.

    Returns:
        The description, with the parameter `parametrizations.<name>.original`, and the buffers
        `parametrizations.<name>.0._u` and `_v`, which a call in training moves on.

    Raises:
        ValueError: the layer has no such parameter, or it is computed already; dim is not an axis;
            n_power_iterations is less than 1.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from fx import nn
        >>> layer = nn.utils.parametrizations.spectral_norm(nn.Linear(3, 3, bias=False))
        >>> params, state = layer.init(jax.random.key(0))
        >>> weight = layer.apply(params, state, jnp.eye(3))[0]
        >>> bool(abs(jnp.linalg.norm(weight, 2) - 1) < 0.1)
        True

    Source: torch.nn.utils.parametrizations.spectral_norm, which changes the layer in place.
    """
    weight, dim = _checked(module, name, n_power_iterations, dim)
    made = _SpectralNorm(weight, name, n_power_iterations, dim, eps)
    return register_parametrization(module, name, made)


def older_spectral_norm(
    module: Module,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
) -> Any:
    """A copy of a layer with a spectral norm, with the names of torch's older function.

    Args:
        module: a layer; it stays as it is.
        name: of the parameter.
        n_power_iterations: of each call in training.
        eps: the least norm that is divided by.
        dim: the axis of the outputs; None is 0, and 1 for a transposed convolution.

    Returns:
        The description, with the parameter `<name>_orig`, and the buffers `<name>_u` and
        `<name>_v`, which a call in training moves on.

    Raises:
        ValueError: the layer has no such parameter, or it is computed already; dim is not an axis;
            n_power_iterations is less than 1.

    Source: torch.nn.utils.spectral_norm, which changes the layer in place.
    """
    weight, dim = _checked(module, name, n_power_iterations, dim)
    dim = dim % len(weight.shape)
    own = f"{name}_orig"
    begin = FromWeight(weight, (own,), name, itself)
    parts: dict[str, Any] = {own: Parameter(weight.shape, begin, weight.dtype)}
    for is_v, size in enumerate(_sides(weight, dim)):
        own = f"{name}_{'uv'[is_v]}"
        begin = FromWeight(weight, (own,), name, _Start(dim, eps, bool(is_v), 0))
        parts[own] = Buffer((size,), begin, weight.dtype)
    function = _Divided(name, n_power_iterations, dim, eps)
    return computed(module, name, function, parts, type(module).__name__)


@dataclass(frozen=True)
class _Divided:
    name: str
    n_power_iterations: int
    dim: int
    eps: float

    def __call__(self, view: Any) -> jax.Array:
        weight, u, v = (getattr(view, self.name + end) for end in ("_orig", "_u", "_v"))
        matrix = _matrix(weight, self.dim)
        if view.training:
            for _ in range(self.n_power_iterations):  # v first, where the newer one has u first
                v, u = _iterate(matrix.T, u, self.eps)
            setattr(view, self.name + "_u", u)
            setattr(view, self.name + "_v", v)
        return weight / _sigma(matrix, u, v)


@dataclass(frozen=True)
class _Start:
    """The initial u or v: random, after some iterations."""

    dim: int
    eps: float
    is_v: bool
    iterations: int

    def __call__(self, key: jax.Array, weight: jax.Array) -> jax.Array:
        matrix = _matrix(weight, self.dim)
        u, v = (
            normalize(jax.random.normal(jax.random.fold_in(key, i), (n,)), dim=0, eps=self.eps)
            for i, n in enumerate(matrix.shape)
        )
        u, v = u.astype(weight.dtype), v.astype(weight.dtype)
        for _ in range(self.iterations):
            u, v = _iterate(matrix, v, self.eps)
        return v if self.is_v else u


def _iterate(matrix, v, eps):
    """One step of the power iteration: u, v. No gradient goes through it, as in torch."""
    matrix = jax.lax.stop_gradient(matrix)
    u = normalize(matrix @ v, dim=0, eps=eps)
    return u, normalize(matrix.T @ u, dim=0, eps=eps)


def _sigma(matrix, u, v):
    return jax.lax.stop_gradient(u) @ (matrix @ jax.lax.stop_gradient(v))


def _matrix(weight, dim):
    """[the axis dim, all others]."""
    return jnp.moveaxis(weight, dim, 0).reshape(weight.shape[dim], -1)


def _sides(weight, dim):
    shape = jax.eval_shape(
        lambda w: _matrix(w, dim), jax.ShapeDtypeStruct(weight.shape, weight.dtype)
    ).shape
    return shape


def _checked(module, name, n_power_iterations, dim):
    weight, axes = declared(module, name, "spectral_norm"), 0
    axes = len(weight.shape)
    if n_power_iterations < 1:
        raise ValueError(
            f"spectral_norm: expected n_power_iterations of 1 or more, got {n_power_iterations}"
        )
    if dim is None:
        dim = 1 if any("ConvTranspose" in kind.__name__ for kind in type(module).__mro__) else 0
    if not -axes <= dim < axes:
        raise ValueError(
            f"spectral_norm: expected dim within the {axes} axes of {list(weight.shape)}, got {dim}"
        )
    return weight, dim
