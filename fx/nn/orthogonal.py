"""Orthogonal weights, as functions of unconstrained ones."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import jax.scipy.linalg  # for expm

from fx.nn.module import Module
from fx.nn.parameter import Buffer, Parameter
from fx.nn.parametrize import FromWeight, declared, register_parametrization

MAPS = ("matrix_exp", "cayley", "householder")


class _Orthogonal(Module):
    base: Any

    def __init__(self, weight: Parameter, name: str, orthogonal_map: str, use_trivialization: bool):
        self.orthogonal_map, self.use_trivialization = orthogonal_map, use_trivialization
        if use_trivialization:
            size = max(weight.shape[-2:])
            begin = FromWeight(weight, ("parametrizations", name, "0", "base"), name, _Base())
            self.base = Buffer((*weight.shape[:-2], size, size), begin, weight.dtype)

    def forward(self, X: jax.Array) -> jax.Array:
        wide = X.shape[-2] < X.shape[-1]
        tall = X.mT if wide else X
        if self.orthogonal_map == "householder":
            Q = _reflections(jnp.tril(tall, -1))
            # Signs, through which no gradient goes, as in torch.
            Q = Q * jax.lax.stop_gradient(jnp.trunc(_diagonal(tall)))[..., None, :]
        else:
            Q = _exponential(tall, self.orthogonal_map)
        if self.use_trivialization:
            Q = self.base @ Q
        return Q.mT if wide else Q

    def right_inverse(self, Q: jax.Array) -> jax.Array:
        if self.use_trivialization:
            return jnp.broadcast_to(-jnp.eye(*Q.shape[-2:], dtype=Q.dtype), Q.shape)
        if self.orthogonal_map != "householder":
            return Q
        wide = Q.shape[-2] < Q.shape[-1]
        raw, tau = jnp.linalg.qr(Q.mT if wide else Q, mode="raw")
        A = raw.mT
        sign = jnp.where(tau == 0, -1, 1) * jnp.sign(_diagonal(A))
        A = A * (1 - jnp.eye(*A.shape[-2:], dtype=A.dtype)) + _on_diagonal(sign, A)
        return A.mT if wide else A


def orthogonal(
    module: Module,
    name: str = "weight",
    orthogonal_map: str | None = None,
    *,
    use_trivialization: bool = True,
) -> Any:
    """A copy of a layer whose parameter is orthogonal: its columns, or rows if they are fewer.

    Args:
        module: a layer; it stays as it is.
        name: of the parameter, [..., M, K].
        orthogonal_map: "matrix_exp" or "cayley", of a skew-symmetric matrix, or "householder", a
            product of reflections; None is "matrix_exp" for a square one, else "householder".
        use_trivialization: start from an orthogonal matrix in a buffer, `base`: the nearest to the
            initial weight by its QR decomposition.

    Returns:
        The description, with `parametrizations.<name>.original`, and
        `parametrizations.<name>.0.base`.

    Raises:
        ValueError: the layer has no such parameter, or it is computed already; it has less than
            two axes; the map is unknown.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from fx import nn
        >>> layer = nn.utils.parametrizations.orthogonal(nn.Linear(4, 2, bias=False))
        >>> params, state = layer.init(jax.random.key(0))
        >>> rows = layer.apply(params, state, jnp.eye(4))[0].T
        >>> bool(abs(rows @ rows.T - jnp.eye(2)).max() < 1e-5)
        True

    Source: torch.nn.utils.parametrizations.orthogonal, which changes the layer in place.
    """
    weight = declared(module, name, "orthogonal")
    if len(weight.shape) < 2:
        raise ValueError(
            f"orthogonal: expected a parameter of two axes or more, got {list(weight.shape)}"
        )
    square = weight.shape[-1] == weight.shape[-2]
    kind = ("matrix_exp" if square else "householder") if orthogonal_map is None else orthogonal_map
    if kind not in MAPS:
        raise ValueError(f"orthogonal: expected orthogonal_map one of {MAPS}, got {kind!r}")
    made = _Orthogonal(weight, name, kind, use_trivialization)
    return register_parametrization(module, name, made, unsafe=True)


@dataclass(frozen=True)
class _Base:
    """The orthogonal matrix to start from: the weight if it is one, else Q of its QR."""

    def __call__(self, key: jax.Array, weight: jax.Array) -> jax.Array:
        tall = weight.mT if weight.shape[-2] < weight.shape[-1] else weight
        n, k = tall.shape[-2:]
        if n != k:
            more = jax.random.normal(jax.random.fold_in(key, 1), (*tall.shape[:-1], n - k))
            tall = jnp.concatenate([tall, more.astype(tall.dtype)], -1)
        Q, R = jnp.linalg.qr(tall.astype(jnp.promote_types(tall.dtype, jnp.float32)))
        Q = (Q * jnp.sign(_diagonal(R))[..., None, :]).astype(tall.dtype)
        if n != k:
            return Q
        near = jnp.abs(tall.mT @ tall - jnp.eye(n, dtype=tall.dtype))
        already = jnp.all(near <= 10 * n * jnp.finfo(tall.dtype).eps)
        return jnp.where(already, tall, Q)


def _exponential(X, kind):
    """The first columns of exp(A), or of its Cayley form, A being skew-symmetric: [..., N, K]."""
    n, k = X.shape[-2:]
    X = jnp.tril(X)
    X = jnp.pad(X, [(0, 0)] * (X.ndim - 1) + [(0, n - k)])
    A = X - X.mT
    if kind == "matrix_exp":
        return jax.scipy.linalg.expm(A)[..., :k]
    eye = jnp.broadcast_to(jnp.eye(n, dtype=A.dtype), A.shape)
    return jnp.linalg.solve(eye - 0.5 * A, eye + 0.5 * A)[..., :k]


def _reflections(A):
    """The first K columns of the product of I - tau v v^T over the columns v of A, with v_i 1."""
    n, k = A.shape[-2:]
    tau = 2 / (1 + jnp.sum(jnp.square(A), -2))  # [..., K]
    V = A + jnp.eye(n, k, dtype=A.dtype)

    def reflect(Q, column):
        v, t = column
        return Q - (t[..., None] * v)[..., None] * jnp.einsum("...n,...nk->...k", v, Q)[
            ..., None, :
        ], None

    start = jnp.zeros_like(A) + jnp.eye(n, k, dtype=A.dtype)
    columns = jnp.moveaxis(V, -1, 0), jnp.moveaxis(tau, -1, 0)
    return jax.lax.scan(reflect, start, columns, reverse=True)[0]


def _diagonal(x):
    return jnp.diagonal(x, axis1=-2, axis2=-1)


def _on_diagonal(values, like):
    """[..., K] on the diagonal of [..., N, K]."""
    return jnp.eye(*like.shape[-2:], dtype=like.dtype) * values[..., None, :]
