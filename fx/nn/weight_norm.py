"""Weight normalisation: a weight as a direction and a length."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from fx.functional.dtypes import accumulate
from fx.nn.module import Module
from fx.nn.parameter import Parameter
from fx.nn.parametrize import FromWeight, computed, declared, itself, register_parametrization


class _WeightNorm(Module):
    def __init__(self, dim: int | None = 0):
        self.dim = -1 if dim is None else dim

    def forward(self, weight_g: jax.Array, weight_v: jax.Array) -> jax.Array:
        return scaled(weight_v, weight_g, self.dim)

    def right_inverse(self, weight: jax.Array) -> tuple[jax.Array, jax.Array]:
        return length(weight, self.dim), weight


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Any:
    """A copy of a layer whose parameter is g * v / |v|.

    Args:
        module: a layer; it stays as it is.
        name: of the parameter.
        dim: the axis that has a length for each index; None, or -1, for one length in all.

    Returns:
        The description, with `parametrizations.<name>.original0`, g, and `original1`, v. It begins
        with the weight that the layer itself would begin with.

    Raises:
        ValueError: the layer has no such parameter, or it is computed already; dim is not an axis.

    Example:
        >>> import jax
        >>> from fx import nn
        >>> layer = nn.utils.parametrizations.weight_norm(nn.Linear(3, 2))
        >>> parts = layer.init(jax.random.key(0))[0]["parametrizations"]["weight"]
        >>> parts["original0"].shape, parts["original1"].shape
        ((2, 1), (2, 3))

    Source: torch.nn.utils.parametrizations.weight_norm, which changes the layer in place. Its
    second derivatives are not those of its first (2.13, float64, by finite differences); here they
    are.
    """
    _check_axis(declared(module, name, "weight_norm"), dim)
    return register_parametrization(module, name, _WeightNorm(dim), unsafe=True)


def older_weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Any:
    """A copy of a layer whose parameter is g * v / |v|, with the names of torch's older function.

    Args:
        module: a layer; it stays as it is.
        name: of the parameter.
        dim: the axis that has a length for each index; None, or -1, for one length in all.

    Returns:
        The description, with `<name>_g` and `<name>_v`.

    Raises:
        ValueError: the layer has no such parameter, or it is computed already; dim is not an axis.

    Source: torch.nn.utils.weight_norm, which changes the layer in place.
    """
    weight = declared(module, name, "weight_norm")
    _check_axis(weight, dim)
    dim = -1 if dim is None else dim
    g, v = f"{name}_g", f"{name}_v"
    shape = jax.eval_shape(
        lambda w: length(w, dim), jax.ShapeDtypeStruct(weight.shape, weight.dtype)
    ).shape
    parts = {
        g: Parameter(shape, FromWeight(weight, (g,), name, _Length(dim)), weight.dtype),
        v: Parameter(weight.shape, FromWeight(weight, (v,), name, itself), weight.dtype),
    }
    return computed(module, name, _Scaled(name, dim), parts, type(module).__name__)


def length(weight: jax.Array, dim: int) -> jax.Array:
    """The norm over all axes but one, which stay with length 1; over all, a scalar, with -1."""
    wide = accumulate(weight, "weight_norm")
    if dim == -1:
        return jnp.sqrt(jnp.sum(jnp.square(wide))).astype(weight.dtype)
    others = tuple(i for i in range(weight.ndim) if i != dim % weight.ndim)
    return jnp.sqrt(jnp.sum(jnp.square(wide), others, keepdims=True)).astype(weight.dtype)


def scaled(v: jax.Array, g: jax.Array, dim: int) -> jax.Array:
    """The weight: g * v / |v|."""
    wide = accumulate(v, "weight_norm")
    return (wide * (g.astype(wide.dtype) / length(wide, dim))).astype(v.dtype)


@dataclass(frozen=True)
class _Length:
    dim: int

    def __call__(self, key: jax.Array, weight: jax.Array) -> jax.Array:
        return length(weight, self.dim)


@dataclass(frozen=True)
class _Scaled:
    name: str
    dim: int

    def __call__(self, view: Any) -> jax.Array:
        return scaled(getattr(view, self.name + "_v"), getattr(view, self.name + "_g"), self.dim)


def _check_axis(weight: Parameter, dim: int | None) -> None:
    axes = len(weight.shape)
    if dim is not None and dim != -1 and not -axes <= dim < axes:
        raise ValueError(
            f"weight_norm: expected dim within the {axes} axes of {list(weight.shape)}, got {dim}"
        )
